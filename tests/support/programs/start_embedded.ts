import { startEmbeddedPostgres } from "../../../src/embedded/mod.ts";

// A program that gets only the permissions in package/permissions_test.ts.
await using postgres = await startEmbeddedPostgres();
console.log(postgres.url.startsWith("postgresql://") ? "started" : "no url");
