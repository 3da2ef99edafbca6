/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions nobody may call here: each has an easy way to go wrong and a better
 * replacement. The build includes this file first, so a call does not compile.
 */
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok
#pragma GCC poison atoi atol atoll system popen mktemp tmpnam
#pragma GCC poison gmtime localtime ctime asctime
