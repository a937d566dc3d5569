import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { loopback } from "./loopback_port.ts";

/** PostgreSQL's own number of iterations. */
const iterations = 4096;

/**
 * What the server stores of a password. The server receives only this verifier.
 * The password itself never leaves the host's process, so no file, log or
 * process list can show it.
 */
export async function scramVerifier(password: string): Promise<string> {
  const salt = randomBytes(16);
  const salted = await promisify(pbkdf2)(
    password,
    salt,
    iterations,
    32,
    "sha256",
  );
  const keyed = (text: string) =>
    createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(keyed("Client Key")).digest();
  const words = [salt, stored, keyed("Server Key")]
    .map((bytes) => bytes.toString("base64"));
  return `SCRAM-SHA-256$${iterations}:${words[0]}$${words[1]}:${words[2]}`;
}

/** Lines of `postgresql.conf`, one for each setting. */
export function settingLines(settings: [string, string][]): string[] {
  return settings.map(([name, value]) => `${name} = ${quoted(value)}`);
}

/** The main file: the cluster's own settings, then ours. */
export function mainLines(dataDir: string, own: string): string[] {
  return [
    `include ${quoted(`${dataDir}/postgresql.conf`)}`,
    `include ${quoted(own)}`,
  ];
}

/** Access needs a password. A cluster's own pg_hba.conf is ignored. */
export const accessLines: string[] = [
  "local all all scram-sha-256",
  `host all all ${loopback}/32 scram-sha-256`,
  "local replication all scram-sha-256",
  `host replication all ${loopback}/32 scram-sha-256`,
];

function quoted(value: string): string {
  const escaped = value.replaceAll(/[\\']/g, "\\$&")
    .replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `'${escaped}'`;
}
