#!/usr/bin/env node
// Prisma's schema engine for its commands (PRISMA_SCHEMA_ENGINE_BINARY): the one that Prisma publishes as WebAssembly,
// over the driver `pg`, where the binary cannot be had. It answers JSON-RPC, a line each, as the binary does.
import { readFileSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

const require = createRequire(realpathSync("node_modules") + "/");
const { PrismaPg } = require("@prisma/adapter-pg");
const { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } = require("@prisma/driver-adapter-utils");
const Result = require("pg/lib/result");
const place = require.resolve("@prisma/schema-engine-wasm/schema_engine_bg");

// The engine reads columns of the type "char" as characters; the adapter does not know that type.
const CHAR = 18;
const TEXT = 25;
const MARK = "char: ";
const { addFields } = Result.prototype;
Result.prototype.addFields = function (fields) {
  for (const field of fields) {
    if (field.dataTypeID === CHAR) Object.assign(field, { dataTypeID: TEXT, name: MARK + field.name });
  }
  return addFields.call(this, fields);
};

function withCharacters(adapter) {
  const queryRaw = adapter.queryRaw.bind(adapter);
  adapter.queryRaw = async (query) => {
    const found = await queryRaw(query);
    found.columnNames.forEach((name, nth) => {
      if (!name.startsWith(MARK)) return;
      found.columnNames[nth] = name.slice(MARK.length);
      found.columnTypes[nth] = ColumnTypeEnum.Character;
    });
    return found;
  };
  return adapter;
}

/** Connects to the database and to shadow databases. */
class Adapters extends PrismaPg {
  async connect() {
    return withCharacters(await super.connect());
  }

  async connectToShadowDb() {
    const server = await this.connect();
    const database = `prisma_migrate_shadow_db_${crypto.randomUUID()}`;
    await server.executeScript(`CREATE DATABASE "${database}"`);
    const shadow = await new Adapters({ ...this.config, database }).connect();
    const end = shadow.dispose.bind(shadow);
    shadow.dispose = async () => {
      await end();
      await server.executeScript(`DROP DATABASE "${database}" WITH (FORCE)`);
      await server.dispose();
    };
    return shadow;
  }
}

const { values, positionals } = parseArgs({
  options: { datamodels: { type: "string", multiple: true }, datasource: { type: "string" } },
  allowPositionals: true,
});
if (positionals.includes("can-connect-to-database")) process.exit(0); // the next call says so itself

const url = new URL(JSON.parse(values.datasource).url);
const adapters = new Adapters({
  host: url.hostname,
  port: Number(url.port),
  user: decodeURIComponent(url.username),
  password: decodeURIComponent(url.password),
  database: url.pathname.slice(1),
});

console.log = console.error; // standard output has the answers alone
const imports = await import(place);
const engine = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(place.replace(/\.js$/, ".wasm"))), {
  "./schema_engine_bg.js": imports,
});
imports.__wbg_set_wasm(engine.exports);
engine.exports.__wbindgen_start();
const datamodels = values.datamodels?.map((path) => [path, readFileSync(path, "utf-8")]);
const calls = await imports.SchemaEngine.new({ datamodels }, () => {}, bindMigrationAwareSqlAdapterFactory(adapters));

const say = (message) => process.stdout.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params } = JSON.parse(line);
  if (method === undefined) continue; // the answer to a `print`
  try {
    const result = (await calls[method](params)) ?? null;
    if (method === "diff") say({ id: 0, method: "print", params: { content: result.stdout } });
    say({ id, result });
  } catch (error) {
    const data = { is_panic: false, message: error.message, meta: error.meta ?? null, error_code: error.code ?? null };
    say({ id, error: { code: 4466, message: error.message, data } });
  }
}
process.exit(0); // with the idle connections
