/** Serves with the runtime's own HTTP server, as users would. */
export function serve(
  handler: (request: Request) => Response | Promise<Response>,
): {
  url: string;
  stop(): Promise<void>;
} {
  if ("Deno" in globalThis) {
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      handler,
    );
    return {
      url: `http://127.0.0.1:${server.addr.port}`,
      stop: () => server.shutdown(),
    };
  }
  const { Bun } = globalThis as unknown as {
    Bun: {
      serve(options: unknown): {
        port: number;
        stop(all: boolean): Promise<void>;
      };
    };
  };
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handler });
  return {
    url: `http://127.0.0.1:${server.port}`,
    stop: () => server.stop(true),
  };
}
