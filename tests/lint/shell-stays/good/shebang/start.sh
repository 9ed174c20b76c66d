#!/usr/bin/dumb-init /bin/sh
server &
other &
wait
