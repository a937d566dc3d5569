/** A program of a user of the published package; registry_test.ts runs it. */
import { startEmbeddedPostgres } from "@towns/stream-storage/embedded";

await using postgres = await startEmbeddedPostgres();
console.log(`started ${new URL(postgres.url).hostname}`);
