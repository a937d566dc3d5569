/**
 * Where a database is and how to reach it: libpq's connection URIs (PostgreSQL
 * documentation, "Connection Strings") as plain data.
 */

import { isIPv6 } from "node:net";
import {
  type AuthMethod,
  type ChannelBinding,
  isChannelBinding,
  parseRequireAuth,
} from "./login/auth_policy.ts";
import type { PasswordSource } from "./login/password.ts";
import { badUrl, splitLibpqUri, strayAt } from "./libpq_uri.ts";
import { type SessionAttrs, sessionAttrs } from "./session_attrs.ts";

/** libpq's `sslmode`. */
export type SslMode =
  | "disable"
  | "prefer"
  | "require"
  | "verify-ca"
  | "verify-full";

/**
 * TLS settings. Certificates and keys are PEM text, or paths of PEM files,
 * which are read again for each connection.
 */
export interface SslOptions {
  /** How strictly the server is checked. */
  mode: SslMode;
  /**
   * Certificates of trusted authorities; by default those of the runtime. With
   * them, `require` verifies the server's certificate, like `verify-ca`.
   */
  ca?: string;
  /** Our own certificate, for servers that require one. */
  cert?: string;
  /** The private key of `cert`; never shown. */
  key?: string;
  /**
   * libpq's `sslnegotiation`: `direct` begins with TLS at once, which needs
   * PostgreSQL 17 and at least `require`. Default `postgres`.
   */
  negotiation?: "postgres" | "direct";
}

/** A server and how to log in there. */
export interface ConnectionTarget {
  /** Tried in order. A host that starts with `/` is a socket directory. */
  hosts: readonly { host: string; port: number }[];
  user: string;
  password: PasswordSource;
  database: string;
  ssl: SslOptions;
  channelBinding: ChannelBinding;
  /** The allowed methods of authentication; undefined: all. */
  requireAuth: readonly AuthMethod[] | undefined;
  /** The option `options` of the startup message, as in libpq. */
  options: string;
  /** When idle connections are first probed; undefined: never. */
  keepAliveMs: number | undefined;
  applicationName: string;
  connectTimeoutMs: number;
  /** The servers that may be used. */
  sessionAttrs: SessionAttrs;
}

const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/** Whether the text is one of libpq's modes that are supported. */
function isSslMode(mode: string): mode is SslMode {
  return sslModes.includes(mode);
}

/** The default values; a target still needs its hosts and its user. */
export const targetDefaults = {
  ssl: { mode: "prefer" },
  channelBinding: "prefer",
  requireAuth: undefined,
  options: "",
  keepAliveMs: 10_000,
  applicationName: "stream-storage",
  connectTimeoutMs: 10_000,
  sessionAttrs: "any",
} as const satisfies Partial<ConnectionTarget>;

/** The defaults in which a store and a reader differ. */
export type TargetDefaults = Pick<
  ConnectionTarget,
  "applicationName" | "sessionAttrs"
>;

/**
 * Reads `postgresql://user:password@host:port,host2:port2/database?…` like
 * libpq, with the parameters of `readers` below. Any other parameter is
 * refused, because it may ask for a protection.
 *
 * @param defaults The values of parameters that the URL does not give.
 * @throws {StreamStorageError} BAD_CONFIG; the error never contains the text,
 *   which may hold a password.
 */
export function parseConnectionUrl(
  url: string,
  defaults: TargetDefaults = targetDefaults,
): ConnectionTarget {
  const values = splitLibpqUri(url);
  for (const name of values.keys()) {
    if (!Object.hasOwn(readers, name)) throw unknownParameter(name);
  }
  const value = <N extends keyof typeof readers>(name: N) =>
    readers[name](values.get(name)) as ReturnType<typeof readers[N]>;
  value("gssencmode");
  const user = value("user");
  if (user === "") throw badUrl("The URL must name a user");
  return {
    ...targetDefaults,
    hosts: hostsOf(value("host"), value("port")),
    user,
    password: value("password"),
    database: value("dbname") || user,
    ssl: sslOf(value("sslmode"), value("sslrootcert"), {
      cert: value("sslcert"),
      key: value("sslkey"),
      negotiation: value("sslnegotiation"),
    }),
    channelBinding: value("channel_binding"),
    requireAuth: value("require_auth"),
    options: value("options"),
    keepAliveMs: value("keepalives") ? value("keepalives_idle") : undefined,
    applicationName: value("application_name") ?? defaults.applicationName,
    connectTimeoutMs: value("connect_timeout"),
    sessionAttrs: value("target_session_attrs") ?? defaults.sessionAttrs,
  };
}

/** The known parameters; each reader gets the value, or nothing. */
const readers = {
  host: (text = "") => text,
  port: (text = "") => text,
  user: (text = "") => text,
  password: (text = "") => text,
  dbname: (text = "") => text,
  options: (text: string = targetDefaults.options) => text,
  application_name: (text?: string) => text,
  sslmode: readSslMode,
  // As in libpq, an empty path means none.
  sslrootcert: (path?: string) => path || undefined,
  sslcert: (path?: string) => path || undefined,
  sslkey: (path?: string) => path || undefined,
  sslnegotiation: (text?: string) =>
    oneOf("sslnegotiation", ["postgres", "direct"], text),
  /** This client has no GSSAPI encryption. */
  gssencmode: (text?: string) =>
    oneOf("gssencmode", ["disable", "prefer"], text),
  channel_binding: readChannelBinding,
  require_auth: readRequireAuth,
  keepalives: (text = "1") => readNumber("keepalives", text) !== 0,
  keepalives_idle: (text = "0") =>
    readNumber("keepalives_idle", text) * 1000 || targetDefaults.keepAliveMs,
  connect_timeout: (text = "0") =>
    readNumber("connect_timeout", text) * 1000 ||
    targetDefaults.connectTimeoutMs,
  target_session_attrs: (text?: string) =>
    text === undefined
      ? undefined
      : oneOf("target_session_attrs", sessionAttrs, text),
};

function hostsOf(list: string, portList: string): ConnectionTarget["hosts"] {
  const hosts = list.split(",");
  const ports = portList.split(",");
  if (ports.length !== 1 && ports.length !== hosts.length) {
    throw badUrl("Expected one port, or as many as there are hosts");
  }
  return hosts.map((host, i) => ({
    host: hostOf(host),
    port: portOf(ports[i] ?? ports[0]!),
  }));
}

/** A name, an address, or a directory of sockets. */
function hostOf(text: string): string {
  const host = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text;
  if (host.includes("@")) {
    throw badUrl(strayAt);
  }
  if (host.startsWith("/")) return host;
  if (host.includes(":") && !isIPv6(host)) {
    throw badUrl("A host must be a name, an address or a directory");
  }
  return host || "localhost";
}

function portOf(text: string): number {
  const port = Number(text || 5432);
  if (!/^\d*$/.test(text) || port < 1 || port > 65535) {
    throw badUrl("A port must be from 1 to 65535");
  }
  return port;
}

function readSslMode(text?: string): SslMode | undefined {
  // Stricter than libpq's `allow`: TLS is tried first.
  if (text === "allow") return "prefer";
  if (text !== undefined && !isSslMode(text)) {
    throw badUrl(`sslmode must be ${sslModes.join(", ")}`);
  }
  return text;
}

/** The rules that connect libpq's parameters for TLS. */
function sslOf(
  given: SslMode | undefined,
  ca: string | undefined,
  { cert, key, negotiation }: {
    cert: string | undefined;
    key: string | undefined;
    negotiation: "postgres" | "direct";
  },
): SslOptions {
  const isSystem = ca === "system";
  const mode = given ?? (isSystem ? "verify-full" : targetDefaults.ssl.mode);
  if (isSystem && mode !== "verify-full") {
    throw badUrl("sslrootcert=system needs sslmode=verify-full");
  }
  if (negotiation === "direct" && (mode === "disable" || mode === "prefer")) {
    throw badUrl("sslnegotiation=direct needs sslmode=require or more");
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw badUrl("sslcert and sslkey need each other");
  }
  return {
    mode,
    ...(ca === undefined || isSystem ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(negotiation === "direct" ? { negotiation } : {}),
  };
}

function readChannelBinding(
  text: string = targetDefaults.channelBinding,
): ChannelBinding {
  if (isChannelBinding(text)) return text;
  throw badUrl("channel_binding must be disable, prefer or require");
}

function readRequireAuth(text?: string): readonly AuthMethod[] | undefined {
  if (text === undefined) return undefined;
  const methods = parseRequireAuth(text);
  if (methods === undefined) {
    throw badUrl(
      "require_auth must list none, password, md5, scram-sha-256, gss, sspi, " +
        "or all of them after an exclamation mark",
    );
  }
  return methods;
}

function oneOf<const T extends string>(
  name: string,
  known: readonly T[],
  text: string | undefined,
): T {
  const value = text === undefined ? known[0] : known.find((k) => k === text);
  if (value !== undefined) return value;
  throw badUrl(`${name} must be ${known.join(" or ")}`);
}

/** At most a day of seconds. */
function readNumber(name: string, text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw badUrl(`${name} must be a whole number`);
}

function unknownParameter(name: string): Error {
  const isName = /^[a-z][a-z_]{1,40}$/i.test(name);
  return badUrl(
    `The parameter ${isName ? name : "(of a strange name)"} is not known: ` +
      `expected ${Object.keys(readers).join(", ")}`,
  );
}
