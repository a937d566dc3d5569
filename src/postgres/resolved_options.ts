/**
 * The options of `openStreamStorage` with every default. All are checked at
 * once, because an operator wants to see every fault, not only the first.
 */

import type { ConnectionTarget } from "../database/connection_target.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { type Checked, type Fault, object, Place } from "./checks.ts";
import {
  connectionTarget,
  ownershipTarget,
  ownersTarget,
} from "./connection_options.ts";
import { optionChecks } from "./option_checks.ts";
import type { StreamStorageOptions } from "./options.ts";
import { type SettingSource, sourceOf } from "./setting.ts";

const checkOptions = object(optionChecks);

/** Options that may be functions; see setting.ts. */
const settingNames = ["ephemeralTtlMs", "trimming"] as const;

/** The functions given for such options. */
export type SettingSources = Partial<
  Record<typeof settingNames[number], SettingSource>
>;

/** Options with every default filled in. */
export interface ResolvedOptions extends
  Omit<
    Checked<typeof checkOptions>,
    | "url"
    | "password"
    | "ssl"
    | "channelBinding"
    | "requireAuth"
    | "ownershipUrl"
  > {
  /** Where transactions run. */
  target: ConnectionTarget;
  /** Where sessions last; the same as `target` unless that is a pooler's. */
  ownershipTarget: ConnectionTarget;
  preparedStatements: boolean;
  /** Functions given instead of values, which are yet to be called. */
  sources: SettingSources;
  statementTimeoutMs: number;
  /** For one attempt, on the server. */
  lockTimeoutMs: number;
  /** For all attempts. */
  lockWaitMs: number;
}

/** The options that reading needs; a reader has no others. */
export type ReadingOptions =
  & Pick<
    ResolvedOptions,
    | "schema"
    | "signal"
    | "target"
    | "ownershipTarget"
    | "clusterHosts"
    | "maxConnections"
    | "idleTimeoutMs"
    | "connectionLimit"
    | "isolationLevel"
    | "preparedStatements"
    | "statementTimeoutMs"
    | "lockTimeoutMs"
    | "lockWaitMs"
    | "operationTimeoutMs"
    | "retry"
    | "mediaStorage"
    | "logger"
  >
  & {
    /** The server refuses changes in these sessions. */
    isReadOnly?: boolean;
  };

/**
 * Checks options and fills in defaults.
 *
 * @throws {StreamStorageError} BAD_CONFIG, all faults in `details.faults` as
 *   `{ option, message }`; values are never shown.
 */
export function resolveOptions(options: StreamStorageOptions): ResolvedOptions {
  const { values, sources } = withoutSources(options);
  const faults: Fault[] = [];
  const checked = checkOptions(values, new Place([], faults));
  const isChecked = faults.length === 0;
  const target = ownersTarget(
    "url",
    connectionTarget(options ?? {}, faults),
    faults,
  );
  if (isChecked) checkObjectNames(checked, faults);
  const direct = ownershipTarget(options ?? {}, faults);
  if (target === undefined || faults.length > 0) throw badConfig(faults);
  const {
    url: _url,
    password: _password,
    ssl: _ssl,
    channelBinding: _channelBinding,
    requireAuth: _requireAuth,
    ownershipUrl: _ownershipUrl,
    ...rest
  } = checked;
  return {
    ...rest,
    ...timeoutsOf(rest),
    sources,
    target,
    ownershipTarget: direct ?? target,
    preparedStatements: rest.preparedStatements ?? direct === undefined,
  };
}

/** Separates the functions; their results are checked when they are called. */
function withoutSources(
  options: StreamStorageOptions,
): { values: unknown; sources: SettingSources } {
  const sources: SettingSources = {};
  const values: Record<string, unknown> = { ...options };
  for (const name of settingNames) {
    const source = sourceOf(values[name]);
    if (source === undefined) continue;
    sources[name] = source;
    delete values[name];
  }
  const isObject = typeof options === "object" && options !== null;
  return { values: isObject ? values : options, sources };
}

/** The server's timeouts, from the time that a call has. */
export function timeoutsOf(
  options: Pick<
    Checked<typeof checkOptions>,
    "operationTimeoutMs" | "statementTimeoutMs" | "lockTimeoutMs"
  >,
): Pick<ReadingOptions, "statementTimeoutMs" | "lockTimeoutMs" | "lockWaitMs"> {
  const { operationTimeoutMs, lockTimeoutMs } = options;
  const statementTimeoutMs = Math.min(
    options.statementTimeoutMs ?? Infinity,
    operationTimeoutMs,
  );
  return {
    statementTimeoutMs,
    lockTimeoutMs: lockTimeoutMs ?? Math.ceil(statementTimeoutMs / 10),
    lockWaitMs: lockTimeoutMs ?? operationTimeoutMs,
  };
}

/** An address would lose such a part of a name. */
export function checkObjectNames(
  { schema, mediaStorage }: { schema: string; mediaStorage?: unknown },
  faults: Fault[],
): void {
  if (mediaStorage === undefined || !/(^|\/)\.{0,2}(\/|$)/.test(schema)) return;
  faults.push({
    option: "schema",
    message: "can't name objects of mediaStorage: a part is empty or only dots",
  });
}

/** One error that lists all faults. */
export function badConfig(
  faults: readonly Fault[],
  operation = "openStreamStorage",
  cause?: unknown,
): StreamStorageError {
  const list = faults.map(({ option, message }) => `${option}: ${message}`);
  return new StreamStorageError({
    code: "BAD_CONFIG",
    operation,
    message: `Options are not valid: ${list.join("; ")}`,
    details: { reason: "bad_options", faults },
    ...(cause === undefined ? {} : { cause }),
  });
}
