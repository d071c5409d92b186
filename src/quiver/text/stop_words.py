"""Words that say nothing about a text: articles, conjunctions, pronouns, prepositions, forms of to be and to have.

The lists are short on purpose. Those of libraries have words in them that people search for ("computer", "system",
"new"), and BM25 gives frequent words little weight anyhow. They are folded as words.py does it.
"""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP_WORDS = {
    "en": _set(
        """
        a an and are as at be been but by for from had has have he her his i if in into is it its me my
        no nor not of on or our she so such than that the their them then there these they this those to
        us was we were which will with you your
        """
    ),
    "fr": _set(
        """
        ai ainsi as au aux avait avec avez avons c ce ces cet cette d dans de des du elle elles en es est
        et eu eux il ils j je l la le les leur leurs lui m ma mais me mes moi mon n ne nos notre nous on
        ont ou par pas pour qu que qui s sa se ses si son sont sur t ta te tes toi ton tu un une vos
        votre vous y à était
        """
    ),
    "es": _set(
        """
        a al ante como con de del desde e el ella ellas ellos en entre era es esa esas ese eso esos esta
        estas este esto estos está están fue ha han hasta he la las le les lo los me mi mis muy más ni no
        nos o os para pero por que qué se sea ser si sin sobre son su sus sí también te tu tus u un una
        unas uno unos y ya yo él
        """
    ),
    "pt": _set(
        """
        a ao aos aquela aquele aquilo as até com como da das de dela dele do dos e ela elas ele eles em
        entre era essa esse esta este eu foi há isso isto já lhe mais mas me meu minha na nas nem no nos
        não o os ou para pela pelas pelo pelos por qual quando que se sem ser seu seus sua suas são só
        também te tem um uma umas uns você à às é
        """
    ),
    "it": _set(
        """
        a ad agli ai al alla alle allo anche c che chi ci come con cui d da dagli dai dal dalla dalle
        dallo degli dei del della delle dello di e ed era essa esse essi esso fra gli ha hai hanno ho i
        il in io l la le lei li lo loro lui ma mi mia mie miei mio ne negli nei nel nella nelle nello noi
        non nostra nostro o per perché più quella quelle quelli quello questa queste questi questo se sei
        si sia sono su sua sue sugli sui sul sulla sulle suo suoi ti tra tu tua tuo un una uno vi voi è
        """
    ),
    "de": _set(
        """
        als am an auch auf aus bei bin bis bist da dann das dass dem den der des die dir doch du durch
        ein eine einem einen einer eines er es euch für gegen hab habe haben hat hatte ich ihm ihn ihnen
        ihr ihre ihrem ihren ihrer im in ist kein keine mein meine mich mir mit nach nicht noch nun nur
        ob oder ohne sehr sein seine sich sie sind so um und uns unser unter vom von vor war waren was
        wenn wer wie wir wird zu zum zur zwischen über
        """
    ),
    "nl": _set(
        """
        aan als bij dan dat de der deze die dit door een en er ge geen had heb hebben heeft hem het hij
        hoe hun ik in is je kan maar me met mij mijn na naar niet nog nu of om onder ons ook op over te
        tegen tot u uit uw van voor was wat we wie wij wordt ze zich zij zijn zo zonder zou
        """
    ),
}

ELISIONS = {
    "fr": _set("c d j jusqu l lorsqu m n puisqu qu quoiqu s t"),
    "it": _set("agl all bell c coll d dagl dall degl dell gl l m negl nell pell quell quest s sugl sull t un v"),
}
"""What stands before an apostrophe and is no part of the word after it."""
