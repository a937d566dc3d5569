import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** The only address that the server listens on. */
export const loopback = "127.0.0.1";

/**
 * Binds a port of the loopback address for a moment, 0 for any free one, and
 * returns its number; undefined when the system refuses it.
 */
export function probePort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host: loopback, port, exclusive: true }, () => {
      const { port: bound } = server.address() as AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}
