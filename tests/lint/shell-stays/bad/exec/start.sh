#!/bin/sh
set -e
exec server 2>&1 | tee /var/log/server.log
