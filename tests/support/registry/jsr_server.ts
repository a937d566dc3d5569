/** A registry that speaks JSR's protocol and has only this package. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { configuration } from "./published_files.ts";

/** Serves until it is disposed of; JSR_URL must be its `url`. */
export async function startJsrServer(
  files: ReadonlyMap<string, string>,
): Promise<AsyncDisposable & { url: string }> {
  const { name, version, exports } = configuration;
  const manifest = Object.fromEntries(
    [...files].map(([path, content]) => [`/${path}`, {
      size: new TextEncoder().encode(content).length,
      checksum: `sha256-${createHash("sha256").update(content).digest("hex")}`,
    }]),
  );
  const pages = new Map<string, string>([
    [`/${name}/meta.json`, JSON.stringify({ versions: { [version]: {} } })],
    [`/${name}/${version}_meta.json`, JSON.stringify({ manifest, exports })],
  ]);
  for (const [path, content] of files) {
    pages.set(`/${name}/${version}/${path}`, content);
  }
  const server = createServer((request, response) => {
    const page = pages.get(request.url ?? "");
    const type = request.url?.endsWith(".ts")
      ? "text/typescript"
      : "application/json";
    response.writeHead(page === undefined ? 404 : 200, {
      "content-type": type,
    });
    response.end(page);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
