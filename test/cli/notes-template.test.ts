import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { checkNotesTemplate, fillNotesTemplate } from '../../src/cli/notes-template.ts';

suite('templates of notes', () => {
  const variables = { guestname: 'web {{vmid}}', vmid: '101', node: 'a', cluster: 'c' };

  test('variables are filled in once, new lines and backslashes written', () => {
    const template = checkNotesTemplate('{{guestname}} on {{ node }}\\n{{vmid}} \\\\n {{cluster}}');
    assert.equal(fillNotesTemplate(template, variables), 'web {{vmid}} on a\n101 \\n c');
  });

  test('what there is not is refused before the backup', () => {
    for (const wrong of ['{{name}}', '{{}}', '\\t', 'x\\', '{{toString}}', 'x'.repeat(1025)])
      assert.throws(() => checkNotesTemplate(wrong), { code: 'bad-argument' }, wrong);
  });
});
