/** Formats figures for readers. */

import { median } from "../measure.ts";
import type { RatioResult, VariantResult } from "../rounds.ts";
import type { Measurement } from "../workload.ts";

/**
 * Computes the medians of a variant's rounds; undefined if it was not measured.
 */
export function mediansOf({ rounds }: VariantResult): Medians | undefined {
  if (rounds.length === 0) return undefined;
  const of = (key: keyof Measurement) => {
    const known = rounds.map((round) => round[key])
      .filter((value) => value !== undefined);
    return known.length === 0 ? undefined : median(known);
  };
  return {
    perSecond: of("operationsPerSecond")!,
    p50Ms: of("p50Ms"),
    p99Ms: of("p99Ms"),
    clientCpuUs: of("clientCpuUs"),
    serverCpuUs: of("serverCpuUs"),
  };
}

/** The medians of a variant; undefined for a figure that was not measured. */
export interface Medians {
  perSecond: number;
  p50Ms: number | undefined;
  p99Ms: number | undefined;
  clientCpuUs: number | undefined;
  serverCpuUs: number | undefined;
}

/** Formats microseconds; `–` if they are unknown. */
export function microseconds(value: number | undefined): string {
  return value === undefined ? "–" : `${figure(value)} µs`;
}

/**
 * Formats three significant digits, with spaces between thousands: `31 200`,
 * `2.41`.
 */
export function figure(value: number): string {
  if (value === 0) return "0";
  const digits = Math.floor(Math.log10(Math.abs(value)));
  if (digits < 2) return value.toFixed(Math.min(3, 2 - digits));
  const unit = 10 ** (digits - 2);
  const rounded = String(Math.round(value / unit) * unit);
  return rounded.replace(/\B(?=(\d{3})+$)/g, " ");
}

/** Formats milliseconds; `–` if they are unknown. */
export function milliseconds(value: number | undefined): string {
  return value === undefined ? "–" : `${figure(value)} ms`;
}

/** Formats a ratio and its spread: `12.4 × (11.8–13.0)`. */
export function ratio({ measured }: RatioResult): string {
  if (measured === undefined) return "not measured";
  const { median, min, max } = measured;
  return `${figure(median)} × (${figure(min)}–${figure(max)})`;
}

/** Formats the bound that a ratio must keep. */
export function demand({ atLeast, atMost }: RatioResult): string {
  if (atLeast !== undefined) return `≥ ${atLeast} ×`;
  return atMost === undefined ? "–" : `≤ ${atMost} ×`;
}

/** Says whether a ratio keeps its bound. */
export function verdict({ holds }: RatioResult): string {
  return holds === undefined ? "–" : holds ? "yes" : "**no**";
}

/**
 * Says which two variants a ratio compares, and whether by throughput or by
 * time.
 */
export function comparison({ of, to, measure }: RatioResult): string {
  return measure === "time" ? `time: ${of} ÷ ${to}` : `÷ ${to}`;
}
