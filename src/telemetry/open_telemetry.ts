/**
 * OpenTelemetry's API, loaded only where the host has installed an SDK, as Deno
 * can do by itself. Without an SDK the API does nothing, yet loading it takes
 * as long as all the code that talks to the database.
 */

type OpenTelemetry = typeof import("@opentelemetry/api");

/** Where every copy of version 1 of the API finds the installed SDK. */
const installed = Symbol.for("opentelemetry.js.api.1");

let api: OpenTelemetry | undefined;

/** Must be awaited before a store's telemetry is made. */
export async function loadOpenTelemetry(): Promise<void> {
  if (installed in globalThis) api ??= await import("@opentelemetry/api");
}

/** The API, if an SDK was installed when a store was opened. */
export function openTelemetry(): OpenTelemetry | undefined {
  return api;
}
