#!/bin/sh
case $1 in
    server) migrate ;;
esac
exec "$@"
