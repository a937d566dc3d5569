import type { HealthSource, HealthState, StorageHealth } from "./health.ts";

/** What no waiting mends: the process must be started anew. */
const dead: ReadonlySet<HealthState> = new Set(["lost", "failed"]);

/**
 * Answers probes; for `Deno.serve`, `Bun.serve` and whatever else calls a
 * function with a `Request`.
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
 * `GET` and `HEAD` of `/readyz` is 200 while all of the stores and readers are
 * ready, of `/livez` unless one of them is in a state that only a restart of
 * the process mends: it has lost its schema, or could not be opened. Else both
 * are 503. The body is the {@linkcode StorageHealth} as JSON; of several
 * `{ ready, stores }`. Other paths are 404, other methods 405.
 *
 * What is still being opened may be given as its promise: it lives and is not
 * ready, as is right for one that stands by.
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
        // A proxy must not answer for us.
        "cache-control": "no-store",
      },
    });
  };
}

/** The health of what is being opened, then of what was. */
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
    // Whoever opens it is told why.
    () => source = as("failed"),
  );
  return { health: () => source.health() };
}
