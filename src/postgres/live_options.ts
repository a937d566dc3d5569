/** The options that may be functions: each is asked and checked by itself. */

import type { StreamStorageError } from "../storage/errors.ts";
import { type Check, type Fault, Place } from "./checks.ts";
import { checkEphemeralTtl } from "./option_checks.ts";
import {
  badConfig,
  type ResolvedOptions,
  type SettingSources,
} from "./resolved_options.ts";
import { answerOf } from "./setting.ts";
import { checkTrimming, type ResolvedTrimming } from "./trimming_options.ts";

/**
 * Checks the option `trimming` by itself.
 *
 * @throws {StreamStorageError} BAD_CONFIG, as `resolveOptions`.
 */
export function resolveTrimming(trimming: unknown): ResolvedTrimming {
  return resolved(checkTrimming, "trimming", trimming);
}

/** Checks the option `ephemeralTtlMs`, as {@linkcode resolveTrimming}. */
export function resolveEphemeralTtl(ms: unknown): number {
  return resolved(checkEphemeralTtl, "ephemeralTtlMs", ms);
}

function resolved<T>(check: Check<T>, option: string, value: unknown): T {
  const faults: Fault[] = [];
  const checked = check(value, new Place([option], faults));
  if (faults.length > 0) throw badConfig(faults, "");
  return checked;
}

/**
 * Asks for the first time the functions given for options, and checks their
 * values.
 *
 * @throws {StreamStorageError} BAD_CONFIG, all faults in `details.faults`; the
 *   signal's reason.
 */
export async function askSources(
  options: ResolvedOptions,
): Promise<ResolvedOptions> {
  const { sources, operationTimeoutMs: timeoutMs, signal } = options;
  const faults: Fault[] = [];
  const causes: unknown[] = [];
  const ask = async <T>(
    option: keyof SettingSources,
    resolve: (value: unknown) => T,
    otherwise: T,
  ): Promise<T> => {
    const source = sources[option];
    if (source === undefined) return otherwise;
    try {
      const answer = Promise.try(source);
      return resolve(await answerOf(option, answer, { timeoutMs, signal }));
    } catch (error) {
      signal?.throwIfAborted();
      const { details, cause } = error as StreamStorageError;
      faults.push(...details["faults"] as Fault[]);
      if (cause !== undefined) causes.push(cause);
      return otherwise;
    }
  };
  const [ephemeralTtlMs, trimming] = await Promise.all([
    ask("ephemeralTtlMs", resolveEphemeralTtl, options.ephemeralTtlMs),
    ask("trimming", resolveTrimming, options.trimming),
  ]);
  if (faults.length > 0) throw badConfig(faults, undefined, causes[0]);
  return { ...options, ephemeralTtlMs, trimming };
}
