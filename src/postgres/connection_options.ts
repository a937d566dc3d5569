/** Where the options lead to: a URL or fields, and the options beside them. */

import {
  type ConnectionTarget,
  parseConnectionUrl,
  type SslMode,
  type SslOptions,
  type TargetDefaults,
  targetDefaults,
} from "../database/connection_target.ts";
import { parseRequireAuth } from "../database/login/auth_policy.ts";
import { isStreamStorageError } from "../storage/errors.ts";
import type { Fault } from "./checks.ts";
import type { StreamStorageOptions } from "./options.ts";

/** The options that say where to connect, and how to log in. */
export type ConnectionOptions = Pick<
  StreamStorageOptions,
  | "url"
  | "host"
  | "port"
  | "user"
  | "password"
  | "database"
  | "ssl"
  | "channelBinding"
  | "requireAuth"
  | "applicationName"
>;

/** Where transactions run; undefined if a fault was noted. */
export function connectionTarget(
  options: ConnectionOptions,
  faults: Fault[],
  defaults?: TargetDefaults,
): ConnectionTarget | undefined {
  const { url, host, port, user, database } = options;
  const fields = { host, port, user, database };
  const given = Object.entries(fields).filter(([, value]) =>
    value !== undefined
  ).map(([name]) => name);
  if (url === undefined && user === undefined) {
    faults.push({ option: "url", message: "is needed, or user and host" });
    return undefined;
  }
  if (url !== undefined && given.length > 0) {
    faults.push({
      option: given.join(", "),
      message: "can't be used with url",
    });
    return undefined;
  }
  if (typeof url === "string") {
    return parsedTarget({ option: "url", url, defaults }, options, faults);
  }
  return withOptions({
    ...targetDefaults,
    hosts: [{ host: host ?? "localhost", port: port ?? 5432 }],
    user: user ?? "",
    password: "",
    database: database ?? user ?? "",
    ...defaults,
  }, options);
}

/** Where sessions last, if not at the same target; undefined with faults. */
export function ownershipTarget(
  options: StreamStorageOptions,
  faults: Fault[],
): ConnectionTarget | undefined {
  const { ownershipUrl, preparedStatements } = options;
  if (typeof ownershipUrl !== "string") return undefined;
  if (preparedStatements === true) {
    // Behind a pooler, a name could belong to another client's statement.
    const message = "must be false with ownershipUrl";
    faults.push({ option: "preparedStatements", message });
  }
  const option = "ownershipUrl";
  const target = parsedTarget({ option, url: ownershipUrl }, options, faults);
  return ownersTarget(option, target, faults);
}

/** The target as an owner needs it: a server that accepts writes. */
export function ownersTarget(
  option: string,
  target: ConnectionTarget | undefined,
  faults: Fault[],
): ConnectionTarget | undefined {
  switch (target?.sessionAttrs) {
    case "standby":
    case "prefer-standby":
      faults.push({
        option,
        message: "target_session_attrs must be any, read-write or primary: " +
          "a standby is for openStreamReader",
      });
      return undefined;
    case "primary":
      return { ...target, sessionAttrs: "read-write" };
    default:
      return target;
  }
}

function parsedTarget(
  { option, url, defaults }: {
    option: string;
    url: string;
    defaults?: TargetDefaults | undefined;
  },
  options: ConnectionOptions,
  faults: Fault[],
): ConnectionTarget | undefined {
  try {
    const target = parseConnectionUrl(url, defaults);
    const isDouble = target.password !== "" && options.password !== undefined;
    if (option === "url" && isDouble) {
      const message = "can't be used with a url that has one";
      faults.push({ option: "password", message });
    }
    return withOptions(target, options);
  } catch (error) {
    if (!isStreamStorageError(error)) throw error;
    faults.push({ option, message: error.message });
    return undefined;
  }
}

/** Applies the options beside the URL, which override what the URL says. */
function withOptions(
  target: ConnectionTarget,
  options: ConnectionOptions,
): ConnectionTarget {
  const { password, ssl, channelBinding, requireAuth, applicationName } =
    options;
  return {
    ...target,
    password: target.password === "" ? password ?? "" : target.password,
    ...sslOf(ssl),
    ...(channelBinding === undefined ? {} : { channelBinding }),
    ...(typeof requireAuth === "string" &&
      { requireAuth: parseRequireAuth(requireAuth) }),
    ...(applicationName === undefined ? {} : { applicationName }),
  };
}

function sslOf(
  ssl: SslMode | SslOptions | undefined,
): { ssl?: SslOptions } {
  if (ssl === undefined) return {};
  return { ssl: typeof ssl === "string" ? { mode: ssl } : ssl };
}
