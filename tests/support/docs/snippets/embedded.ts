/** The embedded server for snippets: a real one, whose URL is registered. */
import { startEmbeddedPostgres as start } from "../../../../src/embedded/mod.ts";
import { realUrls } from "./package.ts";

export * from "../../../../src/embedded/mod.ts";

export const startEmbeddedPostgres: typeof start = async (options) => {
  const server = await start(options);
  realUrls.add(server.url);
  return server;
};
