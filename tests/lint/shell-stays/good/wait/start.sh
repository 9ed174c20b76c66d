#!/bin/bash
trap "kill $(jobs -p)" TERM
./first &
./second &
wait -n
exit $?
