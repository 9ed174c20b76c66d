#!/usr/bin/dumb-init /bin/sh
server --port 80
