/** The embedded server as snippets get it: real, and known as that. */
import { startEmbeddedPostgres as start } from "../../../../src/embedded/mod.ts";
import { realUrls } from "./package.ts";

export * from "../../../../src/embedded/mod.ts";

export const startEmbeddedPostgres: typeof start = async (options) => {
  const server = await start(options);
  realUrls.add(server.url);
  return server;
};
