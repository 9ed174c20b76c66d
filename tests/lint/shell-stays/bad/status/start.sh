#!/bin/sh
node server.js
status=$?
echo "node ended with $status"
exit $status
