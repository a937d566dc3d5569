/** A real server with TLS and a role for each method of authentication. */
import {
  chmod,
  chown,
  copyFile,
  readFile,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../../src/embedded/mod.ts";
import { testSession } from "../sessions.ts";

/** The password of every role that has one. */
export const rolePassword = "geheim";

/** How `pg_hba.conf` lets each role in: as the role's name says. */
const rules = `
  host      all postgres     all scram-sha-256
  local     all by_scram         scram-sha-256
  host      all by_trust     all trust
  host      all by_password  all password
  host      all by_md5       all md5
  host      all by_scram     all scram-sha-256
  hostssl   all by_cert      all cert
  hostssl   all only_plain   all reject
  hostnossl all only_plain   all trust
  host      all refused      all reject
`;

const roles = [
  "by_trust",
  "by_password",
  "by_md5",
  "by_scram",
  "by_cert",
  "only_plain",
  "refused",
];

/** A file of tests/fixtures/tls. */
export function tlsFixture(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/tls/${name}`, import.meta.url));
}

/** Starts the server with these settings, and waits until it has TLS. */
export async function startLoginCluster(
  settings: Record<string, string> = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ settings });
  try {
    await using session = await testSession({ url: server.url });
    const shown = async (setting: string) =>
      (await session.script(`SHOW ${setting}`))[0]![0]!;
    await putFiles(await shown("data_directory"));
    await writeFile(await shown("hba_file"), rules);
    for (const role of roles) {
      const hash = role === "by_md5" ? "md5" : "scram-sha-256";
      await session.script(
        `SET password_encryption = '${hash}';
         CREATE ROLE ${role} LOGIN PASSWORD '${rolePassword}'`,
      );
    }
    await session.script("ALTER SYSTEM SET ssl = on");
    await session.script("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    await session.script("SELECT pg_reload_conf()");
    while (!await hasTls(server.url));
    return server;
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** The server applies a reload some time after it has accepted it. */
async function hasTls(url: string): Promise<boolean> {
  await using session = await testSession({ url });
  const [row] = await session.script("SHOW ssl");
  return row![0] === "on";
}

async function putFiles(dir: string): Promise<void> {
  const { uid, gid } = await stat(dir);
  const own = async (path: string) => {
    await chmod(path, 0o600);
    if (process.getuid?.() === 0) await chown(path, uid, gid);
  };
  for (const name of ["server.crt", "server.key"]) {
    await copyFile(tlsFixture(name), join(dir, name));
    await own(join(dir, name));
  }
  await writeFile(
    join(dir, "root.crt"),
    await readFile(tlsFixture("client.crt"), "utf8"),
  );
  await own(join(dir, "root.crt"));
}
