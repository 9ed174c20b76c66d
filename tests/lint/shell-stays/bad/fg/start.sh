#!/bin/bash
set -m
./server &
./prepare
fg %1
