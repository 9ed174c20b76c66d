#!/bin/sh
# Sets no trap and waits for a child in the foreground, like most entrypoints that were never finished.
echo ready
sleep 1000
echo "the shell went on"
