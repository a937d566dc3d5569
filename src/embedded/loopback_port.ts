import { type AddressInfo, createServer } from "node:net";
import { badConfig, unavailable } from "./failure.ts";

/** The only address that the server listens on. */
export const loopback = "127.0.0.1";

const attempts = 3;

/**
 * Runs `start` with the wanted port, or else with a free one. A free port may
 * be taken before the server binds it. So if `start` fails and the port is
 * taken by then, another port is tried, up to three in all.
 */
export async function startOnLoopback<T>(
  wanted: number | undefined,
  start: (port: number) => Promise<T>,
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const port = await probe(wanted ?? 0);
    if (port === undefined) throw refused(wanted);
    try {
      return await start(port);
    } catch (error) {
      if (await probe(port) !== undefined) throw error;
      if (wanted !== undefined) throw refused(wanted);
      if (attempt === attempts) throw error;
    }
  }
}

/** Binds a port for a moment, 0 for any free one, and returns its number. */
function probe(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host: loopback, port, exclusive: true }, () => {
      const { port: bound } = server.address() as AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}

function refused(port: number | undefined): Error {
  return port === undefined
    ? unavailable(
      "no_free_port",
      `Cannot start the embedded PostgreSQL: ${loopback} has no free port`,
    )
    : badConfig(
      "port_in_use",
      `Cannot start the embedded PostgreSQL: the port must be free on ${loopback} and open to this user, received ${port}`,
      { port },
    );
}
