#!/bin/sh
# A console program: signals mean nothing to it, the line `stop` on standard input does.
trap '' TERM INT QUIT HUP
echo ready
while read -r line; do
    case $line in
    stop)
        echo saved
        exit 0
        ;;
    *) echo "unknown: $line" ;;
    esac
done
echo "input is closed"
while :; do sleep 1; done
