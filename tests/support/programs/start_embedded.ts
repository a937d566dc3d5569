import { startEmbeddedPostgres } from "../../../src/embedded/mod.ts";

// What a program does that has only the permissions of package/permissions_test.ts.
await using postgres = await startEmbeddedPostgres();
console.log(postgres.url.startsWith("postgresql://") ? "started" : "no url");
