#!/usr/bin/env -S tini -- sh
server --port 80
