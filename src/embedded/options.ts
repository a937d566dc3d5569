import { resolve } from "node:path";
import { badConfig } from "./failure.ts";

/** How {@linkcode startEmbeddedPostgres} starts the server. */
export interface EmbeddedPostgresOptions {
  /**
   * The data directory; created if missing, kept after `close()`. Default: a
   * temporary directory that is removed on `close()`. For root, an ordinary
   * user runs the server and owns a new directory. Root creates a directory
   * only where nobody else can change the path; elsewhere create it yourself
   * and give it to that user. Directories of all other users are refused.
   */
  dataDir?: string;
  /** The port on 127.0.0.1, 1 to 65535. Default: a free one. */
  port?: number;
  /**
   * Server settings by name, such as `{ max_connections: "200" }`. They
   * override every default and `postgresql.conf`, but not what `ALTER SYSTEM`
   * has set in a kept `dataDir`. Values may be secrets: no process list and no
   * error shows them. Settings that would take the server out of our hands are
   * refused: `port`, `listen_addresses`, `data_directory`, `config_file` and
   * `external_pid_file`.
   */
  settings?: Record<string, string>;
}

/** The checked options: paths are absolute, settings are a list. */
export interface CheckedOptions {
  /** Absolute, or undefined for a temporary directory. */
  dataDir: string | undefined;
  /** Undefined for a free port. */
  port: number | undefined;
  /** Names and values. */
  settings: [name: string, value: string][];
}

const reservedSettings = new Set([
  "port",
  "listen_addresses",
  "data_directory",
  "config_file",
  "external_pid_file",
  // Directives, not settings, but in a file of settings they would take effect.
  "include",
  "include_if_exists",
  "include_dir",
]);

/** Checks all options and reports all faults at once, as `BAD_CONFIG`. */
export function checkOptions(options: EmbeddedPostgresOptions): CheckedOptions {
  const { dataDir, port, settings = {} } = options;
  const faults = [
    ...dataDirFaults(dataDir),
    ...portFaults(port),
    ...Object.entries(settings).flatMap(([name, value]) =>
      settingFaults(name, value)
    ),
  ];
  if (faults.length > 0) {
    throw badConfig(
      "invalid_options",
      `Cannot start the embedded PostgreSQL: ${faults.join("; ")}`,
      { faults },
    );
  }
  return {
    dataDir: dataDir === undefined ? undefined : resolve(dataDir),
    port,
    settings: Object.entries(settings),
  };
}

function dataDirFaults(dataDir: unknown): string[] {
  if (dataDir === undefined) return [];
  return typeof dataDir === "string" && /^[^\0]+$/.test(dataDir)
    ? []
    : [`dataDir must be a path, received ${JSON.stringify(dataDir)}`];
}

function portFaults(port: unknown): string[] {
  if (port === undefined) return [];
  return Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65535
    ? []
    : [`port must be a whole number from 1 to 65535, received ${port}`];
}

/** Values may hold secrets, so a fault names only the setting. */
function settingFaults(name: string, value: unknown): string[] {
  if (!/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i.test(name)) {
    return [
      `A setting's name must be letters, digits, underscores and dots, received ${
        JSON.stringify(name)
      }`,
    ];
  }
  if (reservedSettings.has(name.toLowerCase())) {
    return [`Setting ${name} belongs to the embedded server`];
  }
  return typeof value === "string" && !value.includes("\0") ? [] : [
    `The value of setting ${name} must be a string, received ${typeof value}`,
  ];
}
