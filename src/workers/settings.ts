import type { Background } from "../postgres/background.ts";
import {
  resolveEphemeralTtl,
  resolveTrimming,
} from "../postgres/live_options.ts";
import type { SettingSources } from "../postgres/resolved_options.ts";
import { LiveSetting } from "../postgres/setting.ts";
import type { ResolvedTrimming } from "../postgres/trimming_options.ts";
import { faultOf } from "./worker_loop.ts";

/** The options that workers read before each run. */
export interface WorkerSettings {
  ephemeralTtlMs: LiveSetting<number>;
  trimming: LiveSetting<ResolvedTrimming>;
}

/** The settings of a store. Failures of option functions are logged. */
export function settingsOf(
  { options, telemetry }: Background,
): WorkerSettings {
  const setting = <T>(
    option: keyof SettingSources,
    value: T,
    parse: (value: unknown) => T,
  ) =>
    new LiveSetting({
      option,
      value,
      parse,
      source: options.sources[option],
      timeoutMs: options.operationTimeoutMs,
      onRefused: ({ details: { faults }, cause }) =>
        telemetry.log.emit("setting_refused", {
          option,
          faults,
          ...(cause === undefined ? {} : faultOf(cause)),
        }),
    });
  return {
    ephemeralTtlMs: setting(
      "ephemeralTtlMs",
      options.ephemeralTtlMs,
      resolveEphemeralTtl,
    ),
    trimming: setting("trimming", options.trimming, resolveTrimming),
  };
}
