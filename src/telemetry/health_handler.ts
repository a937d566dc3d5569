import type { HealthSource, HealthState, StorageHealth } from "./health.ts";

/** States that never end by themselves: the process must be restarted. */
const dead: ReadonlySet<HealthState> = new Set(["lost", "failed"]);

/**
 * Answers health probes; for `Deno.serve`, `Bun.serve` and anything else that
 * calls a function with a `Request`.
 *
 * ```ts
 * import { openStreamStorage } from "@towns/stream-storage";
 * import { healthHandler } from "@towns/stream-storage/telemetry";
 *
 * const opening = openStreamStorage({ url, schema });
 * Deno.serve({ port: 8080 }, healthHandler(opening));
 * await using storage = await opening;
 * ```
 *
 * `GET` and `HEAD` of `/readyz` return 200 while all of the stores and readers
 * are ready; of `/livez`, unless one of them has lost its schema or could not
 * be opened, which only a restart of the process ends. Otherwise both return
 * 503. The body is the {@linkcode StorageHealth} as JSON; for several stores it
 * is `{ ready, stores }`. Other paths return 404, other methods 405.
 *
 * A store that is still being opened may be given as its promise: it is live
 * but not ready, as a store that stands by should be.
 */
export function healthHandler(
  ...sources: (HealthSource | PromiseLike<HealthSource>)[]
): (request: Request) => Response {
  const stores = sources.map((source) =>
    "then" in source ? whenOpened(source) : source
  );
  return ({ method, url }) => {
    const { pathname } = new URL(url);
    if (pathname !== "/readyz" && pathname !== "/livez") {
      return new Response("Not found\n", { status: 404 });
    }
    if (method !== "GET" && method !== "HEAD") {
      return new Response("Method not allowed\n", {
        status: 405,
        headers: { allow: "GET, HEAD" },
      });
    }
    const all = stores.map((store) => store.health());
    const ready = all.every((one) => one.ready);
    const isAlive = !all.some(({ state }) => dead.has(state));
    const isGood = pathname === "/readyz" ? ready : isAlive;
    const body = all.length === 1 ? all[0] : { ready, stores: all };
    return new Response(method === "HEAD" ? null : JSON.stringify(body), {
      status: isGood ? 200 : 503,
      headers: {
        "content-type": "application/json",
        // A proxy must not answer with an old state.
        "cache-control": "no-store",
      },
    });
  };
}

/** The health of a promised store: first as opening, then its own. */
function whenOpened(opening: PromiseLike<HealthSource>): HealthSource {
  const as = (state: HealthState): HealthSource => {
    const health: StorageHealth = {
      ready: false,
      state,
      database: { available: false },
      since: new Date().toISOString(),
    };
    return { health: () => health };
  };
  let source = as("opening");
  opening.then(
    (opened) => source = opened,
    // The code that opens the store receives the error.
    () => source = as("failed"),
  );
  return { health: () => source.health() };
}
