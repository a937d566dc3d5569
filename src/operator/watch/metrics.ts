/**
 * Reads a store's metrics in Prometheus' text format. Any program may answer at
 * that address. So the answer is bounded in time and size, numbers must be
 * numbers, and only printable characters of names are shown.
 */

import { messageOf, printable } from "../../storage/foreign_text.ts";
import { metrics } from "../../telemetry/names.ts";
import { prometheusName } from "../../telemetry/prometheus.ts";
import type { StoreMetrics } from "./types.ts";

/** The metrics of a store with every metric take 60 kB. */
const maxBytes = 4_000_000;
const withinMs = 2000;
/** More than there are kinds of calls. */
const maxCalls = 100;

/** Values of the store's metrics that are shown. */
export interface MetricsReading {
  metrics: Omit<StoreMetrics, "calls">;
  /** The number of calls so far, by operation. */
  calls: Map<string, number>;
}

/** Fetches metrics. If there are none, returns the reason as text. */
export async function readMetrics(
  url: string,
  signal: AbortSignal | undefined,
): Promise<MetricsReading | string> {
  const timeout = AbortSignal.timeout(withinMs);
  try {
    const response = await fetch(url, {
      // The user has named this address and no other.
      redirect: "error",
      signal: signal === undefined
        ? timeout
        : AbortSignal.any([signal, timeout]),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      return `answered with status ${response.status}`;
    }
    return parseMetrics(await textOf(response));
  } catch (error) {
    if (signal?.aborted) throw error;
    if (timeout.aborted) return `did not answer within ${withinMs / 1000} s`;
    // The address may have a token in it; the runtime's message repeats it.
    return printable(messageOf(error).replaceAll(url, "(address)"), 120);
  }
}

async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new Error(`Expected at most ${maxBytes} bytes of metrics`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Numbers that are summed over all their series. */
const sums = new Map<
  string,
  Exclude<keyof StoreMetrics, "ownership" | "usedConnections" | "calls">
>([
  [prometheusName(metrics.queueWrites), "queuedWrites"],
  [prometheusName(metrics.queueSize), "queuedBytes"],
  [prometheusName(metrics.queueBusySlots), "busySlots"],
  [prometheusName(metrics.connectionLimit), "maxConnections"],
  [prometheusName(metrics.pendingRequests), "waiting"],
]);

const connectionCount = prometheusName(metrics.connectionCount);
const ownershipStatus = prometheusName(metrics.ownershipStatus);
const callCount = `${prometheusName(metrics.operationDuration)}_count`;

const line = /^([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})? (-?[0-9.eE+]+)$/;

/** Reads the metrics, and adds up those of several stores in one process. */
export function parseMetrics(text: string): MetricsReading {
  const calls = new Map<string, number>();
  const found: MetricsReading["metrics"] = {
    ownership: null,
    queuedWrites: 0,
    queuedBytes: 0,
    busySlots: 0,
    usedConnections: 0,
    maxConnections: 0,
    waiting: 0,
  };
  for (const each of text.split("\n")) {
    // No line of a store's metrics is that long.
    const [, name, labels = "", number] = each.length > 2000
      ? []
      : line.exec(each) ?? [];
    const value = Number(number);
    if (!Number.isFinite(value)) continue;
    const sum = sums.get(name!);
    if (sum !== undefined) found[sum] += value;
    else if (name === connectionCount) {
      const state = labelOf(labels, "db_client_connection_state");
      if (state === "used") found.usedConnections += value;
    } else if (name === ownershipStatus && value === 1) {
      const state = labelOf(labels, "stream_storage_ownership_state");
      found.ownership = state ?? null;
    } else if (name === callCount) {
      const operation = labelOf(labels, "db_operation_name");
      if (operation === undefined) continue;
      if (!calls.has(operation) && calls.size >= maxCalls) continue;
      calls.set(operation, (calls.get(operation) ?? 0) + value);
    }
  }
  return { metrics: found, calls };
}

function labelOf(labels: string, name: string): string | undefined {
  const [, value] =
    new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels) ?? [];
  return value === undefined ? undefined : printable(value, 40);
}
