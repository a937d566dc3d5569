/**
 * libpq's connection URIs, split into keywords and values (PostgreSQL
 * documentation, "Connection URIs"; libpq's `conninfo_uri_parse_options`). The
 * query overrides what comes before it. Only percent signs are decoded: a plus
 * stays a plus.
 *
 * A URI holds a password. Errors show no part of a malformed text: if an `@` or
 * a `/` was not encoded, parts of the password may be anywhere in it.
 */

import { StreamStorageError } from "../storage/errors.ts";

/** Stricter than libpq, which takes the rest of a password for a host. */
export const strayAt =
  "An @ that does not end a password must be written as %40, " +
  "and a / in a password as %2F";

/** A fault of a URI, without any part of the URI. */
export function badUrl(message: string, cause?: unknown): StreamStorageError {
  return new StreamStorageError({
    code: "BAD_CONFIG",
    operation: "openStreamStorage",
    message: `${message} (the connection URL is not shown)`,
    details: { reason: "bad_url" },
    ...(cause === undefined ? {} : { cause }),
  });
}

/**
 * The keywords of a URI with their values; several hosts and ports are lists
 * with commas.
 *
 * @throws {StreamStorageError} BAD_CONFIG
 */
export function splitLibpqUri(url: string): Map<string, string> {
  const scheme = ["postgresql://", "postgres://"]
    .find((scheme) => url.startsWith(scheme));
  if (scheme === undefined) {
    throw badUrl("Expected postgresql://user:password@host:port/database");
  }
  const rest = url.slice(scheme.length);
  const values = new Map<string, string>();
  const afterLogin = readLogin(rest, values);
  // What comes before an @, or after a slash before it, belongs to a password.
  if (afterLogin.includes("@")) throw badUrl(strayAt);
  const [beforeQuery, query] = cutAt(afterLogin, "?");
  const [hosts, path] = cutAt(beforeQuery, "/");
  readHosts(hosts, values);
  set(values, "dbname", path);
  if (query !== "") readQuery(query, values);
  return values;
}

/** Reads what comes before an `@`, if the `@` comes before any slash. */
function readLogin(text: string, values: Map<string, string>): string {
  const [beforeSlash] = cutAt(text, "/");
  const at = beforeSlash.indexOf("@");
  if (at < 0) return text;
  const [user, password] = cutAt(text.slice(0, at), ":");
  set(values, "user", user);
  set(values, "password", password);
  return text.slice(at + 1);
}

function readHosts(list: string, values: Map<string, string>): void {
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const entry of list.split(",")) {
    const end = entry.startsWith("[") ? entry.indexOf("]") + 1 : 0;
    const [host, port] = cutAt(entry.slice(end), ":");
    if (end > 0 && host !== "") {
      throw badUrl("An IPv6 address must be [address] or [address]:port");
    }
    hosts.push(decode(entry.slice(0, end) + host));
    ports.push(decode(port));
  }
  set(values, "host", hosts.join(","), false);
  set(values, "port", ports.join(","), false);
}

function readQuery(query: string, values: Map<string, string>): void {
  // A trailing ampersand is accepted, as in libpq.
  for (const pair of query.replace(/(?<=.)&$/s, "").split("&")) {
    const parts = pair.split("=");
    if (parts.length !== 2) {
      throw badUrl("Expected name=value after the question mark");
    }
    const [name, value] = parts.map(decode) as [string, string];
    // An alias that libpq accepts for the sake of JDBC's URLs.
    if (name === "ssl" && value === "true") values.set("sslmode", "require");
    else values.set(name, value);
  }
}

function set(
  values: Map<string, string>,
  name: string,
  text: string,
  isEncoded = true,
): void {
  if (text !== "") values.set(name, isEncoded ? decode(text) : text);
}

/** The text before and after the first occurrence of a mark. */
function cutAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw badUrl("The URL has a broken percent-encoding");
  }
  if (decoded.includes("\0")) throw badUrl("The URL has a zero character");
  return decoded;
}
