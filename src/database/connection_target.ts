/**
 * Where a database is and how to reach it: libpq's connection URIs
 * (PostgreSQL documentation, "Connection Strings") as plain data.
 */

import { StreamStorageError } from "../storage/errors.ts";

/** libpq's `sslmode`. */
export type SslMode =
  | "disable"
  | "prefer"
  | "require"
  | "verify-ca"
  | "verify-full";

/** TLS settings; certificates are PEM text. */
export interface SslOptions {
  /** How much is asked of the server. */
  mode: SslMode;
  /** Certificates of the authorities to trust; the runtime's own by default. */
  ca?: string;
  /** Our own certificate and its key, where the server asks for one. */
  cert?: string;
  /** The private key of `cert`; never shown. */
  key?: string;
}

/** A server and how to log in there. */
export interface ConnectionTarget {
  /** Tried in order. A host that starts with `/` is a socket directory. */
  hosts: readonly { host: string; port: number }[];
  user: string;
  password: string;
  database: string;
  ssl: SslOptions;
  applicationName: string;
  connectTimeoutMs: number;
  /** Only a server that accepts writes is taken (libpq's `read-write`). */
  readWrite: boolean;
}

const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/** Whether the text is one of libpq's modes that we know. */
export function isSslMode(mode: string): mode is SslMode {
  return sslModes.includes(mode);
}

/**
 * Reads `postgresql://user:password@host:port,host2:port2/database?…`.
 * Known parameters: sslmode, application_name, connect_timeout (seconds),
 * target_session_attrs (any, read-write, primary), host and port.
 *
 * @throws {StreamStorageError} BAD_CONFIG; the text is never echoed, it may
 *   hold a password.
 */
export function parseConnectionUrl(url: string): ConnectionTarget {
  const match =
    /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/
      .exec(url);
  if (match === null) {
    throw badUrl("Expected postgresql://user:password@host:port/database");
  }
  const [, login = "", authority = "", path = "", query = ""] = match;
  const [user = "", ...password] = login.split(":");
  const parameters = new URLSearchParams(query);
  const target: ConnectionTarget = {
    hosts: parseHosts(
      parameters.get("host") ?? decode(authority),
      parameters.get("port") ?? undefined,
    ),
    user: decode(user) || parameters.get("user") || "",
    password: decode(password.join(":")) || parameters.get("password") || "",
    database: decode(path) || parameters.get("dbname") || decode(user),
    ssl: { mode: sslMode(parameters.get("sslmode")) },
    applicationName: parameters.get("application_name") ?? "stream-storage",
    connectTimeoutMs: connectTimeout(parameters.get("connect_timeout")),
    readWrite: readWrite(parameters.get("target_session_attrs")),
  };
  if (target.user === "") throw badUrl("The URL must name a user");
  return target;
}

function parseHosts(
  list: string,
  ports: string | undefined,
): ConnectionTarget["hosts"] {
  const portList = ports?.split(",");
  return list.split(",").map((entry, i) => {
    const match = /^(\[[0-9a-fA-F:.]+\]|[^:]*)(?::(\d+))?$/.exec(entry);
    if (match === null) throw badUrl("A host must be host or host:port");
    const host = match[1]!.replace(/^\[|\]$/g, "") || "localhost";
    const port = Number(match[2] ?? portList?.[i] ?? portList?.[0] ?? 5432);
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw badUrl("A port must be from 1 to 65535");
    }
    return { host, port };
  });
}

function sslMode(mode: string | null): SslMode {
  if (mode === null || mode === "allow") return "prefer";
  if (!isSslMode(mode)) throw badUrl(`sslmode must be ${sslModes.join(", ")}`);
  return mode;
}

function connectTimeout(seconds: string | null): number {
  if (seconds === null) return 10_000;
  const value = Number(seconds);
  if (!Number.isInteger(value) || value < 0) {
    throw badUrl("connect_timeout must be a whole number of seconds");
  }
  return value === 0 ? 10_000 : value * 1000;
}

function readWrite(attributes: string | null): boolean {
  switch (attributes) {
    case null:
    case "any":
      return false;
    case "read-write":
    case "primary":
      return true;
    default:
      throw badUrl("target_session_attrs must be any, read-write or primary");
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badUrl("The URL has a broken percent-encoding");
  }
}

function badUrl(message: string): StreamStorageError {
  return new StreamStorageError({
    code: "BAD_CONFIG",
    operation: "openStreamStorage",
    message: `${message} (the connection URL is not shown)`,
    details: { reason: "bad_url" },
  });
}
