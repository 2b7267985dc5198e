// Loaded into a command and its threads before them: writes what V8 has compiled of their bundle when they end.
'use strict';
const { renameSync, writeFileSync } = require('node:fs');
const vm = require('node:vm');
const threads = require('node:worker_threads');

const PATIENCE_MS = 1_000;

const kept = [];
vm.Script = class extends vm.Script {
  constructor(source, options) {
    super(source, options);
    kept.push({ script: this, path: `${options.filename}.bytecode` });
  }
};

function write() {
  for (const { script, path } of kept) {
    const partial = `${path}.${process.pid}-${threads.threadId}`;
    writeFileSync(partial, script.createCachedData());
    renameSync(partial, path);
  }
}

if (threads.isMainThread) {
  threads.Worker = class extends threads.Worker {
    constructor(entry, options) {
      super(entry, { ...options, execArgv: ['--require', __filename] });
    }

    /** Threads have no end of their own. */
    async terminate() {
      const channel = new threads.BroadcastChannel(channelOf(this.threadId));
      const written = new Promise((resolve) => {
        channel.onmessage = resolve;
      });
      channel.postMessage('write');
      // One that has only just begun does not hear it, and has little to tell.
      await Promise.race([written, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
      channel.close();
      return await super.terminate();
    }
  };
  process.on('exit', write);
} else {
  const channel = new threads.BroadcastChannel(channelOf(threads.threadId));
  channel.onmessage = () => {
    write();
    channel.postMessage('written');
  };
  channel.unref();
}

function channelOf(threadId) {
  return `byte code ${threadId}`;
}
