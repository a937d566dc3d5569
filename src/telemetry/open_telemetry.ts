/**
 * OpenTelemetry's API, loaded only where the host has installed an SDK, as Deno
 * does by itself when it is asked to. Without one the API does nothing, and takes
 * as long to load as all that talks to the database.
 */

type OpenTelemetry = typeof import("@opentelemetry/api");

/** Where every copy of the API's version 1 finds what the host has installed. */
const installed = Symbol.for("opentelemetry.js.api.1");

let api: OpenTelemetry | undefined;

/** To be awaited before a store's telemetry is made. */
export async function loadOpenTelemetry(): Promise<void> {
  if (installed in globalThis) api ??= await import("@opentelemetry/api");
}

/** The API, if there was an SDK when a store was opened. */
export function openTelemetry(): OpenTelemetry | undefined {
  return api;
}
