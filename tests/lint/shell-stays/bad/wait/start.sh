#!/bin/bash
./first &
./second &
wait -n
exit $?
