import { startEmbeddedPostgres } from "@towns/stream-storage/embedded";

await using postgres = await startEmbeddedPostgres();
console.log(`started ${new URL(postgres.url).hostname}`);
