/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of hydra-setup. It does what takes time or blocks, so that no daemon has to, and is gone afterwards:
 * whoever starts it may die, the work is finished or undone all the same.
 */
#pragma once

#include "base/error.h"
#include "base/options.h"
#include "daemon.pb-c.h"
#include "state/record.h"
#include "state/run_dir.h"

#include <stdbool.h>

typedef Hydra__V1__CreateRequest create_request;

/* bundle.c: folders, the overlay mount and config.json; fills in the record's bundle and rootfs. */
int bundle_make(const create_request *request, record *container, struct error *err);
/* Unmounts and removes what bundle_make() made for it; what a user brought stays. */
int bundle_remove(const record *container, struct error *err);
/* <data>/<namespace>/<id>, the caller's to free. */
char *bundle_data_path(const char *namespace, const char *id);

/* spec.c: config.json for a request whose rootfs is mounted at "rootfs" beside it. */
int spec_write(const create_request *request, const char *netns_path, const char *path, struct error *err);

/* health.c: what the shim will run for the record's health check, if it has one. */
int health_prepare(record *container, struct error *err);

/* network.c: pins a network namespace and lets the CNI plugins connect it; fills in the record's network. */
int network_add(struct run_dir *dir, record *container, struct error *err);
/* The same for a container that comes from another host: ip and mac must be the record's, and the host's end stays
 * unplugged, because the container still answers elsewhere. */
int network_receive(struct run_dir *dir, record *container, struct error *err);
/* Of network_receive() alone: the same as network_add() without, and then with nothing but, what publishes ports: rules are of use only in
 * the host's own network namespace. */
int network_add_unpublished(struct run_dir *dir, record *container, struct error *err);
int network_publish(struct run_dir *dir, const record *container, struct error *err);
/* The reverse; succeeds when there is nothing. */
int network_remove(struct run_dir *dir, const record *container, struct error *err);

/* cni.c: runs all plugins of a network. result_json is the caller's to free. */
enum cni_part { CNI_ALL, CNI_WITHOUT_PORTS, CNI_PORTS_ONLY };
struct cni_call {
	const char *command;      /* "ADD" or "DEL" */
	const char *network;      /* name in the configuration */
	const char *container_id;
	const char *netns_path;
	const char *ip;           /* "" lets the plugin choose */
	const char *mac;
	const char *previous;     /* result of ADD, for DEL and CNI_PORTS_ONLY; NULL */
	const Hydra__V1__Network *ports; /* its published ports; NULL: none */
	enum cni_part part;
};
int cni_run(const struct cni_call *call, char **ret_result_json, struct error *err);
/* Takes addresses and interface names from a result. */
int cni_read_result(const char *result_json, Hydra__V1__Network *network, struct error *err);

/* ports.c: -EADDRINUSE: another container of this host publishes one of its ports. */
int ports_check(const struct run_dir *dir, const record *container, struct error *err);

/* launch.c: the first requests to a shim. */
int launch_call(const char *root, const char *namespace, const char *id, const char *method, struct error *err);

/* The same without a limit of time. */
int launch_call_patiently(const char *root, const char *namespace, const char *id, const char *method, struct error *err);

/* remove.c */
int container_remove(const char *root, const char *namespace, const char *id, bool force, struct error *err);
/* -EOPNOTSUPP: it is a task of containerd, which starts and removes it. */
int container_check_owner(const struct run_dir *dir, struct error *err);
/* For containerd: one of its tasks, in whatever state it is. */
int container_remove_task(const char *root, const char *namespace, const char *id, struct error *err);
/* Nothing, when somebody has finished it meanwhile (record_is_half_done()). */
int container_remove_half_done(const char *root, const char *namespace, const char *id, bool by_containerd, struct error *err);
/* Removes everything of it; dir is locked by us and no shim runs. */
int container_remove_parts(struct run_dir *dir, const record *container, struct error *err);

/* migrate.c: source side. Progress goes to <root>/.migrations/MIGRATION. */
struct migrate_request {
	const char *root, *namespace, *id;
	const char *host;         /* HOST:PORT */
	const char *certificates; /* folder */
	const char *migration;    /* name of this migration */
	const char *bandwidth;    /* as hydra-pager takes them; NULL: its defaults */
	const char *compress, *lost_pages;
	const struct string_list *deadlines;
	const char *mode, *downtime;
	bool is_dry_run;         /* only what is in the way: printed on standard error, nothing changes */
	bool ends_exec_sessions;
};
/* Of a container in doubt that could be served on: as a worker that was killed is followed. */
int container_migrate_on(const struct migrate_request *request, struct error *err);
/* resolve.c: an administrator says where a container in doubt lives ("source" or "target"). */
int container_resolve(const char *root, const char *namespace, const char *id, const char *to, struct error *err);
int container_migrate(const struct migrate_request *request, struct error *err);
/* What would be in the way: a JSON object on standard error. */
int container_preflight(const struct migrate_request *request, struct error *err);

/* exec_sessions.c: kills every exec of the container, and waits for their ends. */
int exec_sessions_end(const struct run_dir *dir, const struct migrate_request *request, struct error *err);

/* receive.c: target side, with a connection that was accepted. */
int container_receive(const char *root, const char *certificates, int connection_fd, struct error *err);

/* target.c: a container whose processes will be restored: folders, network, record, shim. images has "images/", and
 * with a migration "handoff.sock". dir is locked on success, and the caller's to close. */
struct target {
	const char *root, *namespace, *id;
	const char *images;
	const char *migration; /* NULL: from disk */
	const char *peer;
	uint64_t epoch;
	const char *lower; /* the layer below the writable one; NULL or "": where the record says */
};
int target_make(const struct target *target, struct run_dir *ret_dir, struct error *err);

/* checkpoint.c: to disk and back; images is a folder that has all that is needed. */
struct checkpoint_place {
	const char *images;
	const char *key_file; /* NULL: it is not encrypted */
};
int container_checkpoint(const char *root, const char *namespace, const char *id, const struct checkpoint_place *where, bool leave_running,
			 struct error *err);
int container_restore(const char *root, const char *namespace, const char *id, const struct checkpoint_place *where, struct error *err);

/* create.c */
int container_create(const char *root, const create_request *request, struct error *err);
int container_start_again(const char *root, const char *namespace, const char *id, struct error *err);
