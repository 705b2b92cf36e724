"""What notebook 06 uses: the learner's function where it is right, else the course's, which is right, too."""

from going_modular.checks import nb06


def unsolved(losses, patience):
    raise NotImplementedError


def test_the_function_of_the_course_stands_in_and_is_right(capsys):
    ours = nb06.yours_or_ours("early_stopping", unsolved)
    assert capsys.readouterr().out == "early_stopping: that of the course\n"
    assert nb06.early_stopping.judge(ours) == "right"


def test_a_right_answer_is_used_and_a_wrong_one_is_not(capsys):
    def mine(losses, patience):
        return nb06.yours_or_ours("early_stopping", unsolved)(losses, patience)

    def never(losses, patience):
        return 1, len(losses)

    assert nb06.yours_or_ours("early_stopping", mine) is mine
    assert capsys.readouterr().out.endswith("early_stopping: yours\n")
    assert nb06.yours_or_ours("early_stopping", never) is not never
