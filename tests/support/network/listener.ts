import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";

/** Listens on a port of the loopback address; 0 means any free one. */
export async function listen(port: number): Promise<Server> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** The port of a listener. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Closes a listener, which frees its port. */
export async function close(server: Server): Promise<void> {
  server.close();
  await once(server, "close");
}

/** A port of the loopback address that is free at the moment. */
export async function freePort(): Promise<number> {
  const listener = await listen(0);
  const port = portOf(listener);
  await close(listener);
  return port;
}

/** Whether anything accepts connections at a port of the loopback address. */
export function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A server's URL through a proxy at a port of the loopback address. */
export function throughPort(url: string, port: number): string {
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String(port);
  // A proxy that reads the protocol needs it in clear.
  through.searchParams.set("sslmode", "disable");
  return through.href;
}
