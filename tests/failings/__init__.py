"""What six frameworks get wrong by themselves, and what the guard makes of it, over real servers.

- `apps`: one small program, written for each framework as its documentation shows; bare and guarded
- `cases`: what is asked, by the numbers of the survey that measured it, with the two answers
- `notes`: how an answer is put into a few words
"""
