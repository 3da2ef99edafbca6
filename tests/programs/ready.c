/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says each argument to the service manager, as a message of its own, then waits until it is killed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		return EXIT_FAILURE;
	memcpy(address.sun_path, path, strlen(path));
	for (int i = 1; i < argc; i++)
		if (sendto(fd, argv[i], strlen(argv[i]), 0, (struct sockaddr *) &address, sizeof(address)) < 0)
			return EXIT_FAILURE;
	(void) pause();
	return EXIT_SUCCESS;
}
