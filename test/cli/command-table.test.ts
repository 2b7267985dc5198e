// Which file is loaded for which command: the table says what the files add, and a command line loads its own alone.
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Command } from 'commander';
import { addCommands, COMMAND_FILES } from '../../src/cli/command-table.ts';

function program(): Command {
  return new Command('holdfast').option('--ns <NAMESPACE>', 'a namespace').exitOverride();
}

const wordsOf = (from: Command): string[] => from.commands.flatMap((each) => [each.name(), ...each.aliases()]);
const ALL = COMMAND_FILES.flatMap(({ words }) => words);

suite('the table of commands', () => {
  test('says the words of what each file adds', async () => {
    for (const { words, load } of COMMAND_FILES) {
      const into = program();
      (await load())(into);
      assert.deepEqual(wordsOf(into), words);
    }
    assert.equal(new Set(ALL).size, ALL.length, 'each word once');
  });

  const loads = async (...words: string[]): Promise<string[]> => {
    const into = program();
    await addCommands(into, words);
    return wordsOf(into);
  };

  test('gives a command line its own command alone, wherever common options stand', async () => {
    assert.deepEqual(await loads('backup', '--group', 'vm/1'), ['backup']);
    assert.deepEqual(await loads('--ns', 'office', 'snapshot', 'list'), ['snapshot']);
    assert.deepEqual(await loads('--ns=restore', 'qm', 'list'), ['vm', 'qm']);
    assert.deepEqual(await loads('role', 'list'), ['acl', 'role']);
  });

  test('gives all of them to a command line without a command, with help, or with a word that is none', async () => {
    for (const words of [[], ['--help'], ['help', 'backup'], ['bakup', 'restore'], ['--unknown', 'backup']])
      assert.deepEqual(await loads(...words), ALL, words.join(' '));
  });
});
