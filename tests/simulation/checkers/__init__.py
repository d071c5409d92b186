"""History checkers: given what clients asked and were told, could a correct store have answered so?"""
