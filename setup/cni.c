/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CNI 1.0: network configurations of the host and the plugins they name.
 *
 * Configurations: $HYDRA_CNI_CONFIG or /etc/cni/net.d, *.conflist, *.conf. Plugins: $CNI_PATH or /opt/cni/bin, /usr/lib/cni.
 */
#include "base/child.h"
#include "base/file.h"
#include "base/owned.h"
#include "base/text.h"
#include "proto/message.h"
#include "setup/setup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#define CONFIG_FOLDER   "/etc/cni/net.d"
#define PLUGIN_FOLDERS  "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni"
#define CONFIG_SIZE_MAX (1U << 20)
#define INTERFACE       "eth0"
#define PORTS_CAPABILITY "portMappings"

static const char *environment(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : fallback;
}

static const char *text_of(yyjson_val *object, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, key));

	return text != NULL ? text : "";
}

/* The document of the network with this name; NULL and a report when there is none. */
static yyjson_doc *find_network(const char *name, struct error *err)
{
	const char *folder = environment("HYDRA_CNI_CONFIG", CONFIG_FOLDER);
	DIR *entries = opendir(folder);
	yyjson_doc *found = NULL;

	for (struct dirent *entry = entries != NULL ? readdir(entries) : NULL; entry != NULL && found == NULL;
	     entry = readdir(entries)) {
		auto_free char *data = NULL;
		struct error ignored;
		size_t size;

		if (!text_has_suffix(entry->d_name, ".conflist") && !text_has_suffix(entry->d_name, ".conf"))
			continue;
		if (file_read(dirfd(entries), entry->d_name, CONFIG_SIZE_MAX, &data, &size, &ignored) < 0)
			continue;
		found = yyjson_read(data, size, 0);
		if (found != NULL && strcmp(text_of(yyjson_doc_get_root(found), "name"), name) != 0) {
			yyjson_doc_free(found);
			found = NULL;
		}
	}
	if (entries != NULL)
		(void) closedir(entries);
	if (found == NULL)
		(void) fail_because(err, ENOENT, "network '%s': expected none, host, or the name of a configuration in %s", name,
				    folder);
	return found;
}

static char *find_plugin(const char *type, struct error *err)
{
	auto_free char *folders = text_copy(environment("CNI_PATH", PLUGIN_FOLDERS));
	char *rest = folders;

	for (char *folder = strsep(&rest, ":"); folder != NULL; folder = strsep(&rest, ":")) {
		auto_free char *path = text_format("%s/%s", folder, type);

		if (type[0] != '\0' && strchr(type, '/') == NULL && access(path, X_OK) == 0)
			return take_ptr(&path);
	}
	(void) fail_because(err, ENOENT, "CNI plugin '%s' is not in %s: install the CNI plugins", type,
			    environment("CNI_PATH", PLUGIN_FOLDERS));
	return NULL;
}

static bool has_capability(yyjson_val *plugin, const char *name)
{
	return yyjson_get_bool(yyjson_obj_get(yyjson_obj_get(plugin, "capabilities"), name));
}

static void add_ports(yyjson_mut_doc *doc, yyjson_mut_val *list, const Hydra__V1__Network *network)
{
	for (size_t i = 0; i < network->n_ports; i++) {
		const Hydra__V1__PublishedPort *port = network->ports[i];
		yyjson_mut_val *item = yyjson_mut_arr_add_obj(doc, list);

		(void) yyjson_mut_obj_add_uint(doc, item, "hostPort", port->host_port);
		(void) yyjson_mut_obj_add_uint(doc, item, "containerPort", port->container_port);
		(void) yyjson_mut_obj_add_strcpy(doc, item, "protocol", port->protocol);
		if (port->host_ip[0] != '\0')
			(void) yyjson_mut_obj_add_strcpy(doc, item, "hostIP", port->host_ip);
	}
}

/* What the plugin gets on its standard input. */
static char *plugin_input(yyjson_val *network, yyjson_val *plugin, const struct cni_call *call, const char *previous)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_val_mut_copy(doc, plugin);
	yyjson_mut_val *runtime = yyjson_mut_obj(doc);
	yyjson_doc *previous_doc = previous != NULL ? yyjson_read(previous, strlen(previous), 0) : NULL;
	char *json;

	yyjson_mut_doc_set_root(doc, root);
	(void) yyjson_mut_obj_remove_key(root, "capabilities");
	(void) yyjson_mut_obj_remove_key(root, "cniVersion");
	(void) yyjson_mut_obj_remove_key(root, "name");
	(void) yyjson_mut_obj_add_strcpy(doc, root, "cniVersion", text_of(network, "cniVersion"));
	(void) yyjson_mut_obj_add_strcpy(doc, root, "name", text_of(network, "name"));
	if (call->mac[0] != '\0' && has_capability(plugin, "mac"))
		(void) yyjson_mut_obj_add_strcpy(doc, runtime, "mac", call->mac);
	if (call->ip[0] != '\0' && has_capability(plugin, "ips"))
		(void) yyjson_mut_arr_add_strcpy(doc, yyjson_mut_obj_add_arr(doc, runtime, "ips"), call->ip);
	if (call->ports != NULL && has_capability(plugin, PORTS_CAPABILITY))
		add_ports(doc, yyjson_mut_obj_add_arr(doc, runtime, PORTS_CAPABILITY), call->ports);
	(void) yyjson_mut_obj_add_val(doc, root, "runtimeConfig", runtime);
	if (previous_doc != NULL)
		(void) yyjson_mut_obj_add_val(doc, root, "prevResult",
					      yyjson_val_mut_copy(doc, yyjson_doc_get_root(previous_doc)));
	json = yyjson_mut_write(doc, 0, NULL);
	yyjson_doc_free(previous_doc);
	yyjson_mut_doc_free(doc);
	return json;
}

static char *plugin_arguments(const struct cni_call *call)
{
	auto_text text = TEXT_EMPTY;

	text_add(&text, "CNI_ARGS=IgnoreUnknown=1");
	if (call->ip[0] != '\0')
		text_addf(&text, ";IP=%.*s", (int) strcspn(call->ip, "/"), call->ip);
	if (call->mac[0] != '\0')
		text_addf(&text, ";MAC=%s", call->mac);
	return text_take(&text);
}

/* Runs one plugin; its standard output is the result, or an error object. */
static int run_plugin(const char *path, const struct cni_call *call, const char *input, char **ret_output, int *ret_status,
		      struct error *err)
{
	auto_free char *command = text_format("CNI_COMMAND=%s", call->command);
	auto_free char *id = text_format("CNI_CONTAINERID=%s", call->container_id);
	auto_free char *netns = text_format("CNI_NETNS=%s", call->netns_path);
	auto_free char *plugins = text_format("CNI_PATH=%s", environment("CNI_PATH", PLUGIN_FOLDERS));
	auto_free char *search = text_format("PATH=%s", environment("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
	auto_free char *arguments = plugin_arguments(call);
	const char *envp[] = {command, id, netns, plugins, search, arguments, "CNI_IFNAME=" INTERFACE, NULL};
	const char *argv[] = {path, NULL};
	struct child_spec spec = {.path = path, .argv = argv, .envp = envp};
	int in[2], out[2];
	pid_t pid;
	int r;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return fail_errno(err, errno, "make a pipe");
	spec.fds[spec.fd_count++] = (struct child_fd){in[0], 0};
	spec.fds[spec.fd_count++] = (struct child_fd){out[1], 1};
	spec.fds[spec.fd_count++] = (struct child_fd){STDERR_FILENO, 2};
	r = child_start(&spec, &pid, NULL, err);
	(void) close(in[0]);
	(void) close(out[1]);
	if (r == 0) {
		/* configurations are smaller than a pipe's buffer: this can't wait for the plugin's output */
		(void) fd_write_full(in[1], input, strlen(input));
		(void) close(in[1]);
		in[1] = FD_NONE;
		r = file_read_fd(out[0], path, CONFIG_SIZE_MAX, ret_output, NULL, err);
		if (r == 0)
			r = child_wait(pid, ret_status, err);
	}
	owned_fd_release(&in[1]);
	(void) close(out[0]);
	return r;
}

static int plugin_failure(const char *type, const struct cni_call *call, const char *output, int status, struct error *err)
{
	yyjson_doc *doc = yyjson_read(output, strlen(output), 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int r = fail_because(err, EIO, "network '%s': CNI plugin '%s' failed (status %d): %s %s", call->network, type, status,
			     text_of(root, "msg"), text_of(root, "details"));

	yyjson_doc_free(doc);
	return r;
}

static int call_plugin(yyjson_val *network, yyjson_val *plugin, const struct cni_call *call, char **result, struct error *err)
{
	auto_free char *path = find_plugin(text_of(plugin, "type"), err);
	auto_free char *input = NULL;
	auto_free char *output = NULL;
	int status;
	int r;

	if (path == NULL)
		return err->code;
	input = plugin_input(network, plugin, call, *result != NULL ? *result : call->previous);
	r = run_plugin(path, call, input, &output, &status, err);
	if (r < 0)
		return r;
	if (status != 0)
		return plugin_failure(text_of(plugin, "type"), call, output, status, err);
	if (output[0] != '\0') {
		free(*result);
		*result = take_ptr(&output);
	}
	return 0;
}

static bool is_wanted(const struct cni_call *call, yyjson_val *plugin)
{
	bool publishes = has_capability(plugin, PORTS_CAPABILITY);

	return call->part == CNI_ALL || publishes == (call->part == CNI_PORTS_ONLY);
}

/* Somebody has to publish what is to be published. */
static int check_ports(yyjson_val *network, const struct cni_call *call, struct error *err)
{
	yyjson_val *plugins = yyjson_obj_get(network, "plugins");
	yyjson_arr_iter iterator = yyjson_arr_iter_with(plugins);

	if (call->ports == NULL || call->ports->n_ports == 0 || strcmp(call->command, "ADD") != 0)
		return 0;
	for (yyjson_val *plugin = yyjson_arr_iter_next(&iterator); plugin != NULL; plugin = yyjson_arr_iter_next(&iterator)) {
		if (has_capability(plugin, PORTS_CAPABILITY))
			return 0;
	}
	return fail_because(err, EOPNOTSUPP, "network '%s' publishes no ports: its configuration needs "
					     "{\"type\": \"portmap\", \"capabilities\": {\"" PORTS_CAPABILITY "\": true}}", call->network);
}

/* ADD goes through the plugins forwards, DEL backwards. */
static int call_plugins(yyjson_val *network, const struct cni_call *call, char **result, struct error *err)
{
	yyjson_val *plugins = yyjson_obj_get(network, "plugins");
	bool is_list = yyjson_is_arr(plugins);
	size_t count = is_list ? yyjson_arr_size(plugins) : 1;
	bool backwards = strcmp(call->command, "DEL") == 0;
	int r = check_ports(network, call, err);

	for (size_t i = 0; i < count && r == 0; i++) {
		yyjson_val *plugin = is_list ? yyjson_arr_get(plugins, backwards ? count - 1 - i : i) : network;

		if (is_wanted(call, plugin))
			r = call_plugin(network, plugin, call, result, err);
	}
	return r;
}

int cni_run(const struct cni_call *call, char **ret_result_json, struct error *err)
{
	auto_free char *result = NULL;
	yyjson_doc *doc = find_network(call->network, err);
	int r;

	if (doc == NULL)
		return err->code;
	r = call_plugins(yyjson_doc_get_root(doc), call, &result, err);
	yyjson_doc_free(doc);
	if (r == 0)
		*ret_result_json = result != NULL ? take_ptr(&result) : text_copy("{}");
	return r;
}

static bool read_interfaces(yyjson_val *interfaces, Hydra__V1__Network *network)
{
	yyjson_arr_iter iterator = yyjson_arr_iter_with(interfaces);
	bool fits = true;

	for (yyjson_val *entry = yyjson_arr_iter_next(&iterator); entry != NULL; entry = yyjson_arr_iter_next(&iterator)) {
		const char *name = text_of(entry, "name");
		const char *sandbox = text_of(entry, "sandbox");

		if (sandbox[0] != '\0')
			fits = fits && message_set_string(&network->interface, name) &&
			       message_set_string(&network->mac, text_of(entry, "mac"));
		else if (text_has_prefix(name, "veth"))
			fits = fits && message_set_string(&network->host_interface, name);
		else
			fits = fits && message_set_string(&network->bridge, name);
	}
	return fits;
}

int cni_read_result(const char *result_json, Hydra__V1__Network *network, struct error *err)
{
	yyjson_doc *doc = yyjson_read(result_json, strlen(result_json), 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *address = text_of(yyjson_arr_get_first(yyjson_obj_get(root, "ips")), "address");
	bool fits = read_interfaces(yyjson_obj_get(root, "interfaces"), network);

	if (address[0] != '\0')
		fits = fits && message_set_string(&network->ip, address);
	yyjson_doc_free(doc);
	return fits ? 0 : fail_errno(err, ENOMEM, "read the result of network '%s'", network->mode);
}
