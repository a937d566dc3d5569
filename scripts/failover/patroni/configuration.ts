/** Makes the configuration files of a cluster, and the addresses in them. */
import { Random } from "../../../tests/support/random.ts";

/** A member of the cluster. */
export type MemberName = "a" | "b";

/**
 * The ports, the same on every address, below those that systems give to
 * clients.
 */
export const ports = {
  postgres: 25432,
  patroni: 28008,
  etcd: 22379,
  etcdPeer: 22380,
  haproxy: 25000,
} as const;

/** The roles, which share one password. The servers listen only on loopback. */
export const roles = {
  superuser: "postgres",
  replication: "replicator",
  store: "store",
  password: "failover",
} as const;

/**
 * Patroni's times in seconds: shorter than its defaults, in the same
 * proportions.
 */
const times = { ttl: 20, loop_wait: 5, retry_timeout: 7 };

/** The addresses of a cluster. Linux has every address of 127.0.0.0/8. */
export class Addresses {
  readonly #net: string;

  /** Picks addresses at random, so that another run has others. */
  constructor() {
    const random = new Random(crypto.randomUUID());
    this.#net = `127.${random.between(10, 250)}.${random.between(0, 255)}`;
  }

  /** The address of a member's PostgreSQL and Patroni. */
  member(name: MemberName): string {
    return `${this.#net}.${name === "a" ? 1 : 2}`;
  }

  /**
   * The address at which a member finds etcd. Each has its own, which can be
   * cut.
   */
  gate(name: MemberName): string {
    return `${this.#net}.${name === "a" ? 11 : 12}`;
  }

  /** The address of etcd itself. */
  get etcd(): string {
    return `${this.#net}.10`;
  }

  /** The address of the proxy for stores. */
  get haproxy(): string {
    return `${this.#net}.20`;
  }
}

/** Makes Patroni's configuration, as JSON, which is also YAML. */
export function patroniConfiguration(
  { name, addresses, dir, binaries }: {
    name: MemberName;
    addresses: Addresses;
    /** The directory of this member. */
    dir: string;
    binaries: string;
  },
): string {
  const address = addresses.member(name);
  const rest = `${address}:${ports.patroni}`;
  return JSON.stringify({
    scope: "stores",
    name,
    restapi: { listen: rest, connect_address: rest },
    etcd3: {
      host: `${addresses.gate(name)}:${ports.etcd}`,
      // Otherwise Patroni asks etcd for its address and connects to it
      // directly.
      use_proxies: true,
    },
    bootstrap: {
      dcs: {
        ...times,
        // Patroni must not restart a killed primary before it tries the
        // standby.
        primary_start_timeout: 0,
        maximum_lag_on_failover: 100_000_000,
        postgresql: { use_pg_rewind: true, use_slots: true },
      },
      initdb: [{ encoding: "UTF8" }, { locale: "C" }],
    },
    postgresql: {
      listen: `${address}:${ports.postgres}`,
      connect_address: `${address}:${ports.postgres}`,
      bin_dir: binaries,
      ...serverIn(dir),
    },
  });
}

/** The settings of a member's server. */
function serverIn(dir: string) {
  const { superuser, replication, password } = roles;
  return {
    data_dir: `${dir}/data`,
    pgpass: `${dir}/pgpass`,
    authentication: {
      superuser: { username: superuser, password },
      replication: { username: replication, password },
    },
    pg_hba: [
      "local all all trust",
      "host all all 127.0.0.0/8 scram-sha-256",
      "host replication all 127.0.0.0/8 scram-sha-256",
    ],
    parameters: {
      unix_socket_directories: dir,
      // The scenarios kill processes, never the kernel.
      fsync: "off",
      // In the data directory, because a killed server leaves it behind.
      dynamic_shared_memory_type: "mmap",
      wal_keep_size: "256MB",
      max_connections: 100,
      log_connections: "on",
      log_line_prefix: "%m [%p] %a ",
    },
    // Otherwise a new standby would wait for a slow checkpoint.
    basebackup: [{ checkpoint: "fast" }],
    remove_data_directory_on_rewind_failure: true,
    remove_data_directory_on_diverged_timelines: true,
  };
}

const defaults = `global
  maxconn 500
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
`;

/** Makes the configuration of the gate between a member and etcd. */
export function gateConfiguration(
  name: MemberName,
  addresses: Addresses,
): string {
  return `${defaults}listen etcd
  bind ${addresses.gate(name)}:${ports.etcd}
  server etcd ${addresses.etcd}:${ports.etcd}
`;
}

/**
 * Makes the configuration of the stores' proxy, which leads to Patroni's
 * primary.
 */
export function proxyConfiguration(addresses: Addresses): string {
  const server = (name: MemberName) =>
    `  server ${name} ${addresses.member(name)}:${ports.postgres} ` +
    `check port ${ports.patroni}`;
  return `${defaults}listen stores
  bind ${addresses.haproxy}:${ports.haproxy}
  option httpchk GET /primary
  http-check expect status 200
  default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
${server("a")}
${server("b")}
`;
}

/** The arguments of etcd. */
export function etcdArguments(addresses: Addresses, dir: string): string[] {
  const client = `http://${addresses.etcd}:${ports.etcd}`;
  const peer = `http://${addresses.etcd}:${ports.etcdPeer}`;
  return [
    ["--name", "etcd"],
    ["--data-dir", dir],
    ["--listen-client-urls", client],
    ["--advertise-client-urls", client],
    ["--listen-peer-urls", peer],
    ["--initial-advertise-peer-urls", peer],
    ["--initial-cluster", `etcd=${peer}`],
  ].flat();
}
