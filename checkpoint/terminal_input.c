/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint/terminal_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"

#define TERMINAL_IMAGE "terminal.img"
#define INPUT_MAX      4000 /* N_TTY_BUF_SIZE is 4096; what is beyond may still be on its way into it */

/* Lines stay lines, everything else is taken as it comes. */
static void set_unseen(struct termios *settings)
{
	settings->c_iflag = 0;
	settings->c_lflag &= ~(tcflag_t) (ECHO | ECHOE | ECHOK | ECHONL | ISIG | IEXTEN);
	memset(settings->c_cc, _POSIX_VDISABLE, sizeof(settings->c_cc));
}

static int give(int fd, const char *data, size_t size, struct error *err)
{
	struct termios settings, unseen;
	int r = 0;

	if (tcgetattr(fd, &settings) < 0)
		return fail_errno(err, errno, "put back what was typed at the terminal");
	unseen = settings;
	set_unseen(&unseen);
	(void) tcsetattr(fd, TCSANOW, &unseen);
	for (size_t i = 0; r == 0 && i < size; i++) {
		if (ioctl(fd, TIOCSTI, data + i) < 0)
			r = fail_errno(err, errno, "put back what was typed at the terminal");
	}
	(void) tcsetattr(fd, TCSANOW, &settings);
	return r;
}

/* Half a line can be read only where there are no lines. */
static int take(int fd, char *data, size_t *ret_size, struct error *err)
{
	struct termios settings, raw;
	int waiting = 0;
	ssize_t size = 0;
	int r = 0;

	if (tcgetattr(fd, &settings) < 0)
		return fail_errno(err, errno, "copy what was typed at the terminal");
	raw = settings;
	raw.c_lflag &= ~(tcflag_t) ICANON;
	raw.c_cc[VMIN] = raw.c_cc[VTIME] = 0;
	(void) tcsetattr(fd, TCSANOW, &raw);
	if (ioctl(fd, FIONREAD, &waiting) == 0 && waiting > INPUT_MAX)
		r = fail_because(err, EBUSY, "more than %d bytes were typed at the terminal that its program has not read yet", INPUT_MAX);
	else if (waiting > 0)
		size = read(fd, data, INPUT_MAX);
	(void) tcsetattr(fd, TCSANOW, &settings);
	*ret_size = size > 0 ? (size_t) size : 0;
	return r;
}

int terminal_input_save(pid_t init, int images_fd, struct error *err)
{
	auto_free char *path = text_format("/proc/%d/fd/0", (int) init);
	auto_close int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	char data[INPUT_MAX];
	size_t size = 0;
	int r;

	if (fd < 0 || !isatty(fd))
		return 0;
	r = take(fd, data, &size, err);
	if (r < 0 || size == 0)
		return r;
	r = file_replace_fast(images_fd, TERMINAL_IMAGE, data, size, 0600, err);
	return give(fd, data, size, r < 0 ? &(struct error){0} : err) < 0 && r == 0 ? err->code : r;
}

int terminal_input_feed(int images_fd, int master_fd, struct error *err)
{
	auto_close int fd = FD_NONE;
	auto_free char *data = NULL;
	size_t size;
	int r = file_read(images_fd, TERMINAL_IMAGE, INPUT_MAX, &data, &size, err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	fd = ioctl(master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? fail_errno(err, errno, "open the restored terminal") : give(fd, data, size, err);
}
