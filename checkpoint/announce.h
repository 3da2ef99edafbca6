/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the network where a container is now: switches send to where they last saw its address from, and an idle
 * container would not be seen for minutes.
 */
#pragma once

/* Gratuitous ARP for every IPv4 address in the network namespace, in a child that nobody waits for: the tasks stand
 * still meanwhile. Does its best. */
void announce_addresses(int net_namespace_fd);
