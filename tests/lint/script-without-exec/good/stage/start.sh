#!/bin/sh
node x
