/**
 * Other versions of the runtimes than these tests', from npm, in the folder
 * where `.ci/run` keeps its tools.
 */
import { accessSync, constants, existsSync, mkdtempSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runCommand } from "./run_command.ts";

/** A runtime that npm has, and a version. */
export interface RuntimeVersion {
  name: "bun" | "deno" | "node";
  version: string;
}

/** The program of a runtime, which is installed if it is missing. */
export async function installRuntime(
  { name, version }: RuntimeVersion,
): Promise<string> {
  const dir = join(toolsCache(), `${name}-${version}`);
  const program = join(dir, "node_modules", ".bin", name);
  if (existsSync(program)) return program;
  await mkdir(toolsCache(), { recursive: true });
  // Install elsewhere and rename, so that an existing folder is complete.
  const made = mkdtempSync(join(toolsCache(), "new-"));
  const args = ["install", "--prefix", made, "--no-save", "--no-audit"];
  await runCommand("npm", [...args, "--no-fund", `${name}@${version}`], {
    cwd: made,
  });
  try {
    await rename(made, dir);
  } catch (error) {
    // Another process may have been faster.
    await rm(made, { recursive: true });
    if (!existsSync(program)) throw error;
  }
  return program;
}

/** The folder that `.ci/run` uses. */
function toolsCache(): string {
  const home = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const name = `stream-storage-tools-${process.getuid?.()}`;
  return join(isWritable(home) ? home : tmpdir(), name, "runtimes");
}

function isWritable(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
